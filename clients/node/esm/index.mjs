export { connect, ERROR_CODES, NoncedError } from '../dist/client/index.js';
