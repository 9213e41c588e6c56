// `import 'nonced'` and `require('nonced')`, which were the client. ES modules look for the names before anything runs.
exports.connect = undefined;
exports.ERROR_CODES = undefined;
exports.NoncedError = undefined;
exports.withNonced = undefined;

throw new Error(
  "the client is now the package nonced-client; it is not on the npm registry: make it in a checkout of nonced with npm pack --workspace nonced-client, install the tarball, and import { connect } from 'nonced-client'",
);
