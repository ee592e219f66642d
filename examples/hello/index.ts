/** Answers every request with a friendly text. */
export default {
  fetch(request: Request): Response {
    const { pathname } = new URL(request.url);
    return new Response(`Hello from Skerry! You asked for ${pathname}\n`, {
      headers: { 'content-type': 'text/plain; charset=utf-8' },
    });
  },
};
