/** Everything that a guest may import, by interface (any 0.2 version of it) and by the names that jco gives its items. */
import { cli } from './cli.ts';
import { clocks } from './clocks.ts';
import { denied } from './denied.ts';
import { Fields } from './http-fields.ts';
import { FutureTrailers, IncomingBody, IncomingRequest } from './http-incoming.ts';
import {
  FutureIncomingResponse,
  IncomingResponse,
  OutgoingRequest,
  outgoingHandler,
  RequestOptions,
} from './http-outgoing.ts';
import { OutgoingBody, OutgoingResponse, ResponseOutparam } from './http-response.ts';
import { type IoError, io } from './io.ts';
import { random } from './random.ts';

/** Part of the key of the cache: raise it when the generated code, or what it meets here, is made in another way. */
export const shimVersion = 3;

export const imports: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  ...io,
  ...clocks,
  ...random,
  ...cli,
  ...denied,
  ...outgoingHandler,
  'wasi:http/types': {
    Fields,
    FutureIncomingResponse,
    FutureTrailers,
    IncomingBody,
    IncomingRequest,
    IncomingResponse,
    OutgoingBody,
    OutgoingRequest,
    OutgoingResponse,
    RequestOptions,
    ResponseOutparam,
    httpErrorCode: (error: IoError) => error.httpCode,
  },
};
