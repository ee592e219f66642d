export { openJcoEngine } from './engine.ts';
