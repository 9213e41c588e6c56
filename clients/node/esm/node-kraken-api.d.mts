export * from '../dist/client/adapters/node-kraken-api.js';
