/** The image that containers are measured with: busybox httpd and one page. */
import { busyboxLayer, layerOf } from '../../test/support/image-builder.ts';
import { file, folder } from '../../test/support/tar-writer.ts';

export const PORT = 8080;
export const pages = [busyboxLayer(), layerOf([folder('www/'), file('www/index.html', 'hello\n')])];
export const config = { Cmd: ['httpd', '-f', '-p', String(PORT), '-h', '/www'], ExposedPorts: { [`${PORT}/tcp`]: {} } };
