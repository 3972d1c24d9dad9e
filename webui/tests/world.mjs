// A real world on loopback: DHT nodes, a broker, seeders and a node, each a process of the built binary.
import { spawn, execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtemp, rm, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const binary = process.env.DPAY_BINARY ?? path.join(root, 'target/release/dpay');
const run = promisify(execFile);

/** A child that prints JSON lines and stops when its standard input closes. */
export class Part {
  constructor(args) {
    this.args = args;
    this.seen = [];
    this.waiting = [];
    this.errors = '';
    this.child = spawn(binary, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.stderr.on('data', (data) => (this.errors = (this.errors + data).slice(-8000)));
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      try {
        this.seen.push(JSON.parse(line));
      } catch {
        return;
      }
      this.waiting.splice(0).forEach((wake) => wake());
    });
  }

  /** The first line with this `event`, within `timeout_ms`. */
  async event(name, timeout_ms = 60_000) {
    const end = Date.now() + timeout_ms;
    for (;;) {
      const found = this.seen.find((line) => line.event === name);
      if (found) return found;
      if (Date.now() > end || this.child.exitCode !== null) throw new Error(`no "${name}" from dpay ${this.args.join(' ')}\n${this.errors}`);
      await Promise.race([new Promise((wake) => this.waiting.push(wake)), this.ended, new Promise((wake) => setTimeout(wake, 500).unref())]);
    }
  }

  async stop() {
    this.child.stdin.end();
    const late = setTimeout(() => this.child.kill('SIGKILL'), 60_000);
    await this.ended;
    clearTimeout(late);
  }
}

/** UDP addresses on loopback that were free a moment ago. */
async function freeUdp(count) {
  const sockets = await Promise.all(Array.from({ length: count }, () => new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1', () => resolve(socket));
  })));
  const addresses = sockets.map((socket) => `127.0.0.1:${socket.address().port}`);
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.close(resolve))));
  return addresses;
}

export class World {
  parts = [];

  static async start({ dhtNodes = 10 } = {}) {
    const world = new World();
    world.dir = await mkdtemp(path.join(tmpdir(), 'dpay-page-'));
    const addresses = await freeUdp(dhtNodes);
    for (const own of addresses) {
      const others = addresses.filter((other) => other !== own).flatMap((other) => ['--dht-bootstrap', other]);
      world.start(['dht-node', '--json', '--with-parent', '--listen', own, ...others]);
    }
    await Promise.all(world.parts.map((part) => part.event('ready')));
    world.bootstrap = addresses.slice(0, 3);
    const broker = world.start(['broker', 'run', '--json', '--with-parent', '--home', world.home('broker'), '--listen', '127.0.0.1:0', '--hold', '0']);
    world.brokerUrl = (await broker.event('ready')).broker_url;
    return world;
  }

  home(name) {
    return path.join(this.dir, name);
  }

  start(args) {
    const part = new Part(args);
    this.parts.push(part);
    return part;
  }

  /** The options that tell a command of `name` where everything is. */
  global(name) {
    return ['--json', '--home', this.home(name), '--listen', '127.0.0.1:0', ...this.bootstrap.flatMap((address) => ['--dht-bootstrap', address])];
  }

  async run(name, ...args) {
    const { stdout } = await run(binary, [...args, ...this.global(name)], { timeout: 180_000 });
    const lines = stdout.trim().split('\n');
    return JSON.parse(lines.at(-1));
  }

  deposit(account, units) {
    return this.run('broker', 'broker', 'deposit', '--account', account, '--units', String(units), '--reference', `for ${account.slice(0, 8)} ${this.parts.length} ${Date.now()}`);
  }

  /** Bytes that do not repeat, as a file of its own with a torrent beside it. */
  async payload(name, bytes) {
    const data = path.join(this.dir, 'data');
    await mkdir(data, { recursive: true });
    const words = new BigUint64Array(bytes / 8);
    let state = BigInt(name.length) * 0x9e3779b97f4a7c15n + 1n;
    for (let i = 0; i < words.length; i++) {
      state ^= (state << 13n) & 0xffffffffffffffffn;
      state ^= state >> 7n;
      state ^= (state << 17n) & 0xffffffffffffffffn;
      words[i] = state;
    }
    await writeFile(path.join(data, name), words);
    const torrent = path.join(this.dir, `${name}.torrent`);
    const made = await this.run('maker', 'create', path.join(data, name), '-o', torrent, '--piece-kib', '64');
    return { name, data, torrent, info_hash: made.info_hash };
  }

  /** A seeder that takes payment, and its address. */
  async seeder(name, payload, price) {
    await this.run(name, 'wallet', 'init', '--no-passphrase', '--broker', this.brokerUrl);
    const part = this.start(['seed', payload.torrent, '--data', payload.data, '--price', String(price), '--free', 'off', '--broker', this.brokerUrl, '--with-parent', ...this.global(name)]);
    return { part, listen: (await part.event('ready')).listen };
  }

  /** The node whose page is driven. */
  async node(name, ...extra) {
    const part = this.start(['node', '--web', '127.0.0.1:0', '--downloads', path.join(this.dir, `${name}-downloads`), '--with-parent', ...this.global(name), ...extra]);
    return { part, ...(await part.event('ready')) };
  }

  async end() {
    await Promise.all(this.parts.toReversed().map((part) => part.stop()));
    await rm(this.dir, { recursive: true, force: true });
  }
}
