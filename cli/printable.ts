/**
 * Control characters (C0 without the tab, DEL, C1), line and paragraph separators, and the marks that turn the direction
 * of text: what could move the cursor, recolour, or reorder the operator's terminal.
 */
const UNSAFE = /(?!\t)[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

function escaped(char: string): string {
  if (char === '\n') return '\\n';
  if (char === '\r') return '\\r';
  const code = char.charCodeAt(0).toString(16);
  return code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `\\u${code.padStart(4, '0')}`;
}

/** Text of others as one line that does nothing to a terminal but show itself. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped);
}
