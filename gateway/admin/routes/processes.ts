import { randomBytes } from 'node:crypto';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { createRoute, z } from '@hono/zod-openapi';
import type { Exit, Instance } from '../../../runtime/driver.ts';
import type { RevisionDocument } from '../../../runtime/workload/documents.ts';
import { revisionOf } from '../../../runtime/workload/revision-of.ts';
import { ProcessName } from '../../../runtime/workload/settings.ts';
import { gatewayErrors } from '../../errors.ts';
import { Attachment } from '../attachment.ts';
import type { AdminApp } from '../base-app.ts';
import { ExecRequest, ImageBuildRequest, ProcessList, ProcessView, RunRequest, SignalRequest } from '../schemas.ts';
import type { AdminServices } from '../services.ts';
import { processView } from '../views.ts';

const params = z.object({ name: ProcessName });
const view = { 200: { description: 'The process', content: { 'application/json': { schema: ProcessView } } } };
/** How long a process may take to end by itself when it is told to, in milliseconds. */
const graceMs = z.coerce.number().int().min(0).max(3_600_000).default(10_000);

const routes = {
  list: createRoute({
    method: 'get',
    path: '/v1/processes',
    responses: { 200: { description: 'All processes', content: { 'application/json': { schema: ProcessList } } } },
  }),
  get: createRoute({ method: 'get', path: '/v1/processes/{name}', request: { params }, responses: view }),
  run: createRoute({
    method: 'post',
    path: '/v1/processes',
    description: 'Runs an image as a process; answered when it runs.',
    request: { body: { required: true, content: { 'application/json': { schema: RunRequest } } } },
    responses: view,
  }),
  stop: createRoute({
    method: 'post',
    path: '/v1/processes/{name}/stop',
    description: 'Sends the signal that its image names, and ends it when it has not ended in time.',
    request: { params, query: z.object({ graceMs }) },
    responses: view,
  }),
  signal: createRoute({
    method: 'post',
    path: '/v1/processes/{name}/signal',
    request: { params, body: { required: true, content: { 'application/json': { schema: SignalRequest } } } },
    responses: {
      200: {
        description: 'Whether the process listens to it',
        content: { 'application/json': { schema: z.object({ heard: z.boolean() }) } },
      },
    },
  }),
  remove: createRoute({
    method: 'delete',
    path: '/v1/processes/{name}',
    request: { params, query: z.object({ graceMs }) },
    responses: { 204: { description: 'Ended and forgotten' } },
  }),
};

export function processRoutes(app: AdminApp, services: AdminServices): void {
  const { processes } = services;
  const show = (name: string) => processView(processes.require(name), processes.instance(name));

  app.openapi(routes.list, (c) =>
    c.json({ processes: processes.list().map((each) => processView(each, processes.instance(each.name))) }, 200),
  );
  app.openapi(routes.get, (c) => c.json(show(c.req.valid('param').name), 200));

  app.openapi(routes.run, async (c) => {
    const request = c.req.valid('json');
    const revision = await processRevision(services, request);
    await processes.run(revision, { remove: request.remove });
    return c.json(show(revision.workload), 200);
  });

  app.openapi(routes.stop, async (c) => {
    const { name } = c.req.valid('param');
    await processes.stop(name, c.req.valid('query').graceMs);
    return c.json(show(name), 200);
  });

  app.openapi(routes.signal, async (c) => {
    const heard = await processes.signal(c.req.valid('param').name, c.req.valid('json').signal);
    return c.json({ heard }, 200);
  });

  app.openapi(routes.remove, async (c) => {
    await processes.remove(c.req.valid('param').name, c.req.valid('query').graceMs);
    return c.body(null, 204);
  });

  // Not described: what follows is frames, both ways (`frames.ts`).
  app.post('/v1/run', (c) => {
    const attachment = new Attachment(c.env.incoming, c.env.outgoing);
    void attachment.answer(runAttached(services, attachment));
    return RESPONSE_ALREADY_SENT;
  });
  app.post('/v1/image-builds', (c) => {
    const attachment = new Attachment(c.env.incoming, c.env.outgoing);
    void attachment.answer(buildImage(services, attachment));
    return RESPONSE_ALREADY_SENT;
  });
  app.post('/v1/exec', (c) => {
    const attachment = new Attachment(c.env.incoming, c.env.outgoing);
    void attachment.answer(exec(services, attachment));
    return RESPONSE_ALREADY_SENT;
  });
}

/** Its end is the client's; the client's is not its own. */
async function runAttached(services: AdminServices, attachment: Attachment): Promise<object> {
  const { processes } = services;
  const request = await attachment.request(RunRequest);
  const revision = await processRevision(services, request);
  const name = revision.workload;
  await processes.run(revision, { streams: attachment.streams, remove: request.remove });
  attachment.say({ started: name });
  const exit = (await processes.ended(name)) ?? processes.get(name)?.end?.exit;
  return { status: statusOf(exit), message: exit?.message ?? '' };
}

async function buildImage(services: AdminServices, attachment: Attachment): Promise<object> {
  const request = await attachment.request(ImageBuildRequest);
  return services.buildImage(request, attachment.streams, attachment.left);
}

async function exec(services: AdminServices, attachment: Attachment): Promise<object> {
  const { name, command } = await attachment.request(ExecRequest);
  const instance = await runningInstance(services, name);
  attachment.say({ started: name });
  return { status: await instance.exec(command, attachment.streams, attachment.left), message: '' };
}

/** As a shell tells it. */
function statusOf(exit: Exit | undefined): number {
  return exit?.code ?? 128 + 9;
}

/** Of a process, or of a workload: an instance of the revision that serves most of its traffic, woken when none runs. */
async function runningInstance({ processes, desired, reconciler }: AdminServices, name: string): Promise<Instance> {
  const process = processes.instance(name);
  if (process) return process;
  if (processes.get(name)) throw gatewayErrors.NOT_RUNNING(name);
  desired.require(name);
  // Not what it should be served by: that may have failed to start.
  const traffic = reconciler.current.workloads.get(name)?.traffic ?? [];
  const [main] = [...traffic].sort((a, b) => b.percent - a.percent);
  if (!main) throw gatewayErrors.NOT_RUNNING(name);
  const { id } = main.revision.revision;
  const running = () => reconciler.controller(name)?.runner(id)?.instances[0];
  if (!running()) await reconciler.wake(name, id);
  const instance = running();
  if (!instance) throw gatewayErrors.NOT_RUNNING(name);
  return instance;
}

/** Throws ARTIFACT_MISSING, ISOLATION_UNFIT, and what the policies refuse it with. */
async function processRevision(services: AdminServices, request: RunRequest): Promise<RevisionDocument> {
  const { blobs, drivers, trust } = services;
  const { artifact, label, settings } = request;
  const name = request.name ?? `${request.basename}-${randomBytes(3).toString('hex')}`;
  if (!(await blobs.has(artifact.digest))) throw gatewayErrors.ARTIFACT_MISSING(name, artifact.digest);
  await trust.admit(artifact.digest, label);
  return revisionOf(name, artifact, label, settings, new Set(drivers.keys()), { arguments: request.arguments });
}
