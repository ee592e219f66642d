/** Serves the files of a static site, which `static.ts` puts before this: `FILES`, by path. */
/* global FILES */
const site = new Map();
// Done once, while the component is built.
for (const [path, [type, tag, base64]] of Object.entries(FILES)) {
  site.set(path, { type, tag, bytes: Uint8Array.fromBase64?.(base64) ?? decode(base64) });
  delete FILES[path];
}

function decode(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** `/a/` is /a/index.html, and `/a` may be /a.html. */
function find(path) {
  return site.get(path.endsWith('/') ? `${path}index.html` : path) ?? site.get(`${path}.html`);
}

function answer(request) {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return new Response('Method not allowed\n', { status: 405, headers: { allow: 'GET, HEAD' } });
  }
  const { pathname, search } = new URL(request.url);
  let path;
  try {
    path = decodeURIComponent(pathname);
  } catch {
    return new Response('Bad request\n', { status: 400 });
  }
  const found = find(path);
  if (found === undefined && site.has(`${path}/index.html`)) {
    // From where the client is, whatever route leads here.
    const last = pathname.slice(pathname.lastIndexOf('/') + 1);
    return new Response(null, { status: 308, headers: { location: `./${last}/${search}` } });
  }
  const file = found ?? site.get('/404.html');
  if (file === undefined) return new Response('Not found\n', { status: 404 });
  const headers = { 'content-type': file.type, etag: file.tag, 'cache-control': 'no-cache' };
  const tags = request.headers.get('if-none-match') ?? '';
  if (found !== undefined && tags.split(',').some((tag) => [file.tag, '*'].includes(tag.trim().replace(/^W\//, '')))) {
    return new Response(null, { status: 304, headers });
  }
  headers['content-length'] = String(file.bytes.byteLength);
  const body = request.method === 'HEAD' ? null : file.bytes;
  return new Response(body, { status: found === undefined ? 404 : 200, headers });
}

export default { fetch: answer };
