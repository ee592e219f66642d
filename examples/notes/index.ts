/// <reference path="../../images/build/javascript/function.d.ts" />
/** Keeps notes. `PUT /NAME` writes one, `GET /NAME` reads it, `GET /` lists them; `DELETE /NAME` is for who knows the secret. */
import { increment } from 'wasi:keyvalue/atomics@0.2.0-draft2';
import { open } from 'wasi:keyvalue/store@0.2.0-draft2';
import { log } from 'wasi:logging/logging@0.1.0-draft';

interface Environment {
  readonly ADMIN_TOKEN: string;
}

export default {
  async fetch(request: Request, env: Environment): Promise<Response> {
    const name = new URL(request.url).pathname.slice(1);
    const notes = open('notes');
    if (request.method === 'PUT') {
      notes.set(name, new Uint8Array(await request.arrayBuffer()));
      // One step for the node: of requests at the same time none is lost.
      const writes = increment(open('counts'), 'writes', 1n);
      return new Response(`written; ${writes} so far\n`);
    }
    if (request.method === 'DELETE') {
      if (request.headers.get('authorization') !== `Bearer ${env.ADMIN_TOKEN}`) {
        log('warn', 'notes', `somebody without the secret tried to delete ${name}`);
        return new Response('that needs the secret\n', { status: 403 });
      }
      notes.delete(name);
      return new Response('deleted\n');
    }
    if (name === '') return Response.json(notes.listKeys(undefined).keys);
    const note = notes.get(name);
    return note ? new Response(note) : new Response('no such note\n', { status: 404 });
  },
};
