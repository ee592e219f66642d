/** Pages of busybox's httpd that answer well only once there is a file `/tmp/ready`. */
import { file, folder, type TarEntry } from './tar-writer.ts';

/** Says `text`, or 500 with a reason. */
function script(text: string): string {
  const head = (status: string) => `printf 'Status: ${status}\\r\\nContent-Type: text/plain\\r\\n\\r\\n'`;
  return `#!/bin/sh
if [ -e /tmp/ready ]; then ${head('200 OK')}; printf '${text}'
else ${head('500 Internal Server Error')}; echo not ready; fi
`;
}

/** `/index.html`, which is always there, and below `/cgi-bin`, when it is ready, `ready` and a `page` that says `text`. */
export function healthPages(text: string): TarEntry[] {
  const page = (name: string, says: string) => file(`www/cgi-bin/${name}`, script(says), { mode: 0o755 });
  return [
    folder('www/'),
    file('www/index.html', text),
    folder('www/cgi-bin/'),
    page('ready', 'yes'),
    page('page', text),
  ];
}
