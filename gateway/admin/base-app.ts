/** What every Hono app of the admin API has: bindings to Node's request, and problems as answers. */
import type { HttpBindings } from '@hono/node-server';
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { SkerryError } from '../../errors/skerry-error.ts';
import { gatewayErrors } from '../errors.ts';
import { problemBody, problemHeaders } from '../problem.ts';
import { nextRequestId } from '../request-id.ts';

export type AdminApp = OpenAPIHono<{ Bindings: HttpBindings }>;

/** `settings.memory: must be …; settings.cpus: …`: what the schema says is wrong, each with its key. */
export function describeIssues(issues: readonly { path: PropertyKey[]; message: string }[]): string {
  return issues
    .slice(0, 5)
    .map((issue) => (issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ${issue.message}` : issue.message))
    .join('; ');
}

export function newAdminApp(): AdminApp {
  return new OpenAPIHono<{ Bindings: HttpBindings }>({
    defaultHook: (result) => {
      if (!result.success) throw gatewayErrors.INVALID_REQUEST(describeIssues(result.error.issues));
    },
  });
}

export function problemResponse(error: SkerryError): Response {
  const id = nextRequestId();
  const flat = problemHeaders(error, id);
  const headers = new Headers();
  for (let i = 0; i < flat.length; i += 2) headers.append(flat[i] as string, flat[i + 1] as string);
  return new Response(problemBody(error, id), { status: error.status, headers });
}

export function noSuchPath(c: Context): Response {
  return problemResponse(gatewayErrors.NOT_FOUND(`${c.req.method} ${c.req.path} in the admin API`));
}
