export * from '../dist/client/adapters/kraken-api.js';
