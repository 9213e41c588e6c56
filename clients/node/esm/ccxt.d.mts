export * from '../dist/client/adapters/ccxt.js';
