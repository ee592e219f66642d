/**
 * Everything that a guest may import, by interface and by the names that jco gives its items. An interface stands for all
 * its versions that are offered, unless they differ.
 */
import { cli } from './cli.ts';
import { clocks } from './clocks.ts';
import { config } from './config.ts';
import { denied } from './denied.ts';
import { Fields } from './http-fields.ts';
import { FutureTrailers, IncomingBody, IncomingRequest } from './http-incoming.ts';
import { FutureIncomingResponse, IncomingResponse } from './http-incoming-response.ts';
import { OutgoingRequest, outgoingHandler, RequestOptions } from './http-outgoing.ts';
import { OutgoingBody, OutgoingResponse, ResponseOutparam } from './http-response.ts';
import { type IoError, io } from './io.ts';
import { keyvalue } from './keyvalue.ts';
import { logging } from './logging.ts';
import { outboundFailures } from './outbound-failures.ts';
import { random } from './random.ts';

/** Part of the key of the cache: raise it when the generated code, or what it meets here, is made in another way. */
export const shimVersion = 5;

export const imports: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  ...io,
  ...clocks,
  ...random,
  ...cli,
  ...denied,
  ...config,
  ...keyvalue,
  ...logging,
  ...outgoingHandler,
  ...outboundFailures,
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
