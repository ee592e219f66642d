/** Passes requests on to another server, and its answers back as they come. */
interface Environment {
  readonly UPSTREAM: string;
}

export default {
  async fetch(request: Request, env: Environment): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    try {
      const answer = await fetch(new URL(pathname + search, env.UPSTREAM));
      const type = answer.headers.get('content-type') ?? 'application/octet-stream';
      return new Response(answer.body, { status: answer.status, headers: { 'content-type': type } });
    } catch (error) {
      return new Response(`${env.UPSTREAM} cannot be reached: ${error}\n`, { status: 502 });
    }
  },
};
