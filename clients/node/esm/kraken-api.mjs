export { withNonced } from '../dist/client/adapters/kraken-api.js';
