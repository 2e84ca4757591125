/** A loopback HTTP server for one file, with the faults a download meets. */
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface FileServer {
  url: string;
  /** Range header of every request, in order ('' without one). */
  ranges: string[];
  /** Breaks the connections that hang. */
  cut(): void;
  close(): Promise<void>;
}

export interface Faults {
  /** Ignore Range headers. */
  withoutRange?: boolean;
  /** Answer request k with this status and no content; undefined answers properly. */
  status?: (request: number) => number | undefined;
  /** Send request k elsewhere; undefined answers properly. */
  redirect?: (request: number) => string | undefined;
  /** Send a byte every so many milliseconds, without end. */
  trickleMs?: number;
  /** Say nothing of the length. */
  chunked?: boolean;
  /** Send so many bytes of request k, then nothing more until cut() ends the connection; undefined sends all. */
  hangAfter?: (request: number) => number | undefined;
}

export async function serveFile(content: Uint8Array, faults: Faults = {}): Promise<FileServer> {
  const ranges: string[] = [];
  const hanging: Socket[] = [];
  const server = http.createServer((request, response) => {
    const k = ranges.length;
    const range = request.headers.range ?? '';
    ranges.push(range);
    const status = faults.status?.(k);
    if (status !== undefined) {
      response.writeHead(status).end();
      return;
    }
    const location = faults.redirect?.(k);
    if (location !== undefined) {
      response.writeHead(302, { location }).end();
      return;
    }
    const start = faults.withoutRange ? 0 : Number(/bytes=(\d+)-/.exec(range)?.[1] ?? 0);
    const body = content.subarray(start);
    const headers: http.OutgoingHttpHeaders = faults.chunked ? {} : { 'content-length': body.length };
    if (start > 0) headers['content-range'] = `bytes ${start}-${content.length - 1}/${content.length}`;
    response.writeHead(start > 0 ? 206 : 200, headers);
    if (faults.trickleMs !== undefined) {
      let at = 0;
      const timer = setInterval(() => response.write(body.subarray(at, ++at)), faults.trickleMs);
      response.on('close', () => {
        clearInterval(timer);
      });
      return;
    }
    const hang = faults.hangAfter?.(k);
    if (hang === undefined) {
      response.end(body);
      return;
    }
    hanging.push(request.socket);
    response.write(body.subarray(0, hang));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/archive.tar.gz`,
    ranges,
    cut() {
      for (const socket of hanging.splice(0)) socket.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  };
}
