/** Who a node is to another registry. */
import * as z from 'zod';

const text = z
  .string()
  .max(16 * 1024)
  // Neither a header nor a form may get more lines of it.
  .regex(/^[^\0\r\n]*$/, { error: 'it has a line break in it' });

/** A password, or the identity token that `docker login` gets from some registries. */
export const Credentials = z.union([
  z.strictObject({ username: text.regex(/^[^:]*$/, { error: 'it has a colon in it' }), password: text }),
  z.strictObject({ identityToken: text.min(1) }),
]);
export type Credentials = z.infer<typeof Credentials>;

/** The header that shows them; null where they are for a token endpoint only. */
export function basicAuthorization(credentials: Credentials): string | null {
  if ('identityToken' in credentials) return null;
  const { username, password } = credentials;
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
