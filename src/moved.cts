// `import 'nonced'` and `require('nonced')`, which were the client. ES modules look for the names before anything runs.
exports.connect = undefined;
exports.ERROR_CODES = undefined;
exports.NoncedError = undefined;
exports.withNonced = undefined;

throw new Error("the client is now nonced-client: npm install nonced-client; import { connect } from 'nonced-client'");
