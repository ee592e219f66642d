/** How an instance is asked whether it is well, as people write it: `tcp`, `http:/healthz`, `command:pg_isready -q`. */

export type HealthCheck =
  /** Well when the port takes a connection. */
  | { readonly kind: 'tcp'; readonly port: number | null }
  /** Well when a GET is answered 200 to 399. */
  | { readonly kind: 'http'; readonly port: number | null; readonly target: string }
  /** Well when `/bin/sh -c` ends with status 0. */
  | { readonly kind: 'command'; readonly command: string };

/** Of what is written, in characters. */
const MOST = 4096;

const SHAPE =
  /^(?:tcp(?::(?<tcp>[0-9]{1,5}))?|http:(?<http>[0-9]{1,5})?(?<target>\/(?!\/)[!"$-~]*)|command:(?<command>[^\0]+))$/s;

/** Null when it is none. A port that is not said (null) is the one that the workload listens on. */
export function parseHealthCheck(text: string): HealthCheck | null {
  if (text.length > MOST) return null;
  const { tcp, http, target, command } = SHAPE.exec(text)?.groups ?? {};
  const said = tcp ?? http;
  const port = said === undefined ? null : Number(said);
  if (port === 0 || (port ?? 0) > 65_535) return null;
  if (target !== undefined) return { kind: 'http', port, target };
  if (command !== undefined) return command.trim() === '' ? null : { kind: 'command', command };
  return text.startsWith('tcp') && SHAPE.test(text) ? { kind: 'tcp', port } : null;
}

/** What `parseHealthCheck` takes, for whoever wrote something else. */
export const HEALTH_CHECK_SHAPE =
  '"tcp", "http:/PATH" or "command:LINE" (a port of its own as in "tcp:9000", "http:9000/PATH")';
