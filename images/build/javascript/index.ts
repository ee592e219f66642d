export { buildJavaScript, type JavaScriptBuildOptions, javaScriptBuildKey, prepareJavaScriptBuilder } from './build.ts';
