/**
 * Mends the script that makes imports of WIT importable in JavaScript. The engine runs it in a realm of its own, so that
 * what it gives back are not the function's own kinds of objects: `error instanceof Error` would be false, and bytes from
 * the node no Uint8Array for a stream. Its errors do not say what is wrong, and it ends the engine over a negative s64.
 */

/** The module by which the function's realm gives its constructors, see guest/realm.js. */
const realm = `
let { Error, TypeError, Uint8Array } = globalThis;
const _describe = (failure) => {
  if (typeof failure !== 'object' || failure?.tag === undefined) return String(failure);
  if (failure.tag === 'other') return String(failure.val);
  return typeof failure.val === 'string' ? \`\${failure.tag}: \${failure.val}\` : failure.tag;
};
`;

const adoption = `
defineBuiltinModule('skerry:realm', {
  adopt(constructors) {
    ({ Error, TypeError, Uint8Array } = constructors);
    Object.setPrototypeOf(ComponentError, Error);
    Object.setPrototypeOf(ComponentError.prototype, Error.prototype);
  },
});
`;

/** Texts of the script, each there once, and what comes in their place. */
const mended: readonly (readonly [from: string, to: string])[] = [
  [
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a part of the script's text
    'super(enumerable ? `${String(value)} (see error.payload)` : value);',
    'super(_describe(value));',
  ],
  // The engine takes the bits of an i64 as an unsigned number only.
  ['return BigInt.asIntN(64, converted);', 'return BigInt.asUintN(64, converted);'],
];

/** Throws when the script has another form than that of the pinned componentize-js. */
export function mendBindings(script: string): string {
  let text = script;
  for (const [from, to] of mended) {
    if (text.split(from).length !== 2)
      throw new Error(`the bindings made by componentize-js have another form: ${from}`);
    text = text.replace(from, to);
  }
  return `${realm}${text}${adoption}`;
}
