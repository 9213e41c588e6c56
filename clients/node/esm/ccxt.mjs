export { withNonced } from '../dist/client/adapters/ccxt.js';
