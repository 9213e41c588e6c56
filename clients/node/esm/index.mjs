export { connect, ERROR_CODES, krakenOutcome, NoncedError } from '../dist/client/index.js';
