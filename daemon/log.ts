/** The node's own log: pino, lines of JSON, pretty on a terminal. */
import pino, { type Logger } from 'pino';
import pretty from 'pino-pretty';

export type { Logger } from 'pino';

export function makeLog(level: string): Logger {
  const terminal = process.stdout.isTTY === true;
  const stream = terminal
    ? pretty({ colorize: !process.env.NO_COLOR, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss', sync: true })
    : pino.destination({ fd: 1, sync: true });
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, stream);
}
