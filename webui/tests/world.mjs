// A real world on loopback: DHT nodes, a broker, seeders and a node, each a process of the built binary.
import { spawn, execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtemp, readFile, rm, writeFile, mkdir } from 'node:fs/promises';
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
  /** `within`: the command, and its first arguments, that runs the program. */
  constructor(args, within = []) {
    this.args = args;
    this.seen = [];
    this.waiting = [];
    this.errors = '';
    const [command, ...rest] = [...within, binary, ...args];
    this.child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
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
  /** Seconds by which the clocks of whatever starts from now on are ahead. */
  clockOffset = 0;
  /** Where whatever starts from now on listens for peers. */
  listen = '127.0.0.1:0';

  static async start({ dhtNodes = 10, clockOffset = 0 } = {}) {
    const world = new World();
    world.clockOffset = clockOffset;
    world.dir = await mkdtemp(path.join(tmpdir(), 'dpay-page-'));
    const addresses = await freeUdp(dhtNodes);
    for (const own of addresses) {
      const others = addresses.filter((other) => other !== own).flatMap((other) => ['--dht-bootstrap', other]);
      world.start(['dht-node', '--json', '--with-parent', '--listen', own, ...others]);
    }
    try {
      await Promise.all(world.parts.map((part) => part.event('ready')));
      world.bootstrap = addresses.slice(0, 3);
      await world.startBroker('127.0.0.1:0');
    } catch (error) {
      // Parts that nobody ends would keep the test from ending.
      await world.end();
      throw error;
    }
    return world;
  }

  async startBroker(listen) {
    this.broker = this.start(['broker', 'run', '--json', '--with-parent', '--home', this.home('broker'), '--listen', listen, '--hold', '0', `--clock-offset-s=${this.clockOffset}`]);
    this.brokerUrl = (await this.broker.event('ready')).broker_url;
  }

  /** The broker goes on at another moment. */
  async travel(clockOffset) {
    await this.broker.stop();
    this.clockOffset = clockOffset;
    await this.startBroker(new URL(this.brokerUrl).host);
  }

  home(name) {
    return path.join(this.dir, name);
  }

  start(args, within) {
    const part = new Part(args, within);
    this.parts.push(part);
    return part;
  }

  /** The options that tell a command of `name` where everything is. */
  global(name) {
    return ['--json', '--home', this.home(name), '--listen', this.listen, `--clock-offset-s=${this.clockOffset}`, ...this.bootstrap.flatMap((address) => ['--dht-bootstrap', address])];
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
  async payload(name, bytes, ...more) {
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
    const made = await this.run('maker', 'create', path.join(data, name), '-o', torrent, '--piece-kib', '64', ...more);
    return { name, data, torrent, info_hash: made.info_hash };
  }

  async torrentBase64(payload) {
    return (await readFile(payload.torrent)).toString('base64');
  }

  /** A seeder of one payload or more that takes payment, and nothing else; at price 0 it serves everybody. Its address. */
  async seeder(name, payloads, price) {
    const all = [payloads].flat();
    await this.run(name, 'wallet', 'init', '--no-passphrase', '--broker', this.brokerUrl);
    const terms = price > 0 ? ['--price', String(price), '--free', 'off'] : ['--free', 'on'];
    const part = this.start(['seed', ...all.map((one) => one.torrent), '--data', all[0].data, ...terms, '--broker', this.brokerUrl, '--with-parent', ...this.global(name)]);
    return { part, listen: (await part.event('ready')).listen };
  }

  /** A wallet with so many units in its account. */
  async wallet(name, units) {
    const { account } = await this.run(name, 'wallet', 'init', '--no-passphrase');
    await this.deposit(account, units);
  }

  #downloading(name, torrent, peer) {
    return ['download', torrent, '-o', this.home(`${name}-downloads`), '--yes', '--max-price', '65536', '--peer', peer, '--broker', this.brokerUrl];
  }

  /** A download that pays whoever asks, from one peer. */
  download(name, torrent, peer) {
    return this.run(name, ...this.#downloading(name, torrent, peer));
  }

  /** The same, not waited for. */
  startDownload(name, torrent, peer) {
    return this.start([...this.#downloading(name, torrent, peer), ...this.global(name)]);
  }

  /** Asks a node's API as a program does. */
  async ask(name, url, where, data, method = 'POST') {
    const token = (await readFile(path.join(this.home(name), 'api.token'), 'utf8')).trim();
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const answer = await fetch(`${url}/api/v1${where}`, data === undefined ? { headers } : { method, headers, body: JSON.stringify(data) });
    if (!answer.ok) throw new Error(`${where}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  #node(name, extra, within) {
    return this.start(['node', '--web', '127.0.0.1:0', '--downloads', path.join(this.dir, `${name}-downloads`), '--with-parent', ...this.global(name), ...extra], within);
  }

  /** The node whose page is driven. */
  async node(name, ...extra) {
    const part = this.#node(name, extra);
    return { part, ...(await part.event('ready')) };
  }

  /**
   * A node whose downloads go to a disk of so many MiB of its own, but for the last of which it is full. `makeRoom` empties it.
   */
  async nodeOnSmallDisk(name, mib, ...extra) {
    const disk = path.join(this.dir, `${name}-downloads`);
    await mkdir(disk, { recursive: true });
    const filler = path.join(disk, 'filler');
    // In a mount namespace of its own, where an ordinary user may mount.
    const script = `mount -t tmpfs -o size=${mib}m tmpfs "$0" && head -c ${mib - 1}M /dev/zero > "$0/filler" && exec "$@"`;
    const part = this.#node(name, extra, ['unshare', '--map-root-user', '--mount', 'sh', '-c', script, disk]);
    const ready = await part.event('ready');
    return { part, ...ready, makeRoom: () => rm(`/proc/${part.child.pid}/root${filler}`) };
  }

  async end() {
    await Promise.all(this.parts.toReversed().map((part) => part.stop()));
    await rm(this.dir, { recursive: true, force: true });
  }
}
