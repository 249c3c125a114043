/**
 * The graph of a run in memory: what is not finished yet, what waits for what, and for which images. Bookkeeping only; it
 * starts nothing and waits for nothing. A vertex is wanted while it is the root of an open image or while something
 * unfinished waits for it, so a failed image costs only what hangs below it alone. Nothing here recurses: nodes that are
 * shared between images can stand on paths of any length.
 */
import { GantryError, isCode, retryClass } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { anotherWayMayHelp, wayOf } from './another-source.ts';
import type { ImageResult, ImageState } from './dispatcher.ts';
import { type Child, childNode, type ContentNode, isRepeatable, type Node, nodeKey, nodeLabel } from './handler.ts';

/** One root of a run, with its own result even where two roots share a vertex. */
export interface Image {
  readonly node: Node;
  readonly root: Vertex;
  result: ImageResult | undefined;
}

export interface Vertex {
  readonly key: string;
  /** Changes when the content is tried another way. */
  node: Node;
  /** Levels below the nearest root that is known to lead here. */
  depth: number;
  /**
   * idle: waits for a slot, a timer or its children; running: in a slot; `phase` says which half is meant. The other
   * states are final. dropped: nobody wants it any more.
   */
  status: 'idle' | 'running' | 'done' | 'failed' | 'dropped';
  phase: 'visit' | 'settle';
  attempt: number;
  /** All that the visit answered, and what rounds of settle have added. */
  children: readonly Child[];
  /** What the visit has left for settle. */
  carry: string;
  /** How many times settle has added children. */
  round: number;
  /** What was moved for it and for what hangs below, each thing counted for one parent. */
  readonly moved: Moved;
  /** When its first visit began; milliseconds of the clock of the graph. */
  startedAtMs: number | undefined;
  /** The children that are not done. When the last one leaves, the vertex can settle. */
  readonly below: Set<Vertex>;
  /** What waits for this one. */
  readonly parents: Set<Vertex>;
  /** The open images that it is the root of. They end together. */
  images: Image[];
  /** The ways to its content that are known; see wayOf. */
  readonly ways: Set<string>;
  readonly untried: ContentNode[];
  error: GantryError | undefined;
  failures: number;
  failedAtMs: number;
  resolved: Descriptor | undefined;
  isEqual: boolean;
  /** Why its visit has skipped it. */
  skipped: string | undefined;
}

/** What an image has cost. */
interface Moved {
  bytes: number;
  mounted: number;
}

/** What ended images leave behind. `unwanted` may be running or parked. */
export interface Ended {
  readonly results: readonly ImageResult[];
  readonly unwanted: readonly Vertex[];
}

/** A node that failed for a passing reason gets so many fresh starts when further images come to want it, ... */
const MAX_REVIVALS = 3;
/** ... and then one each time it has rested this long: an outage must not cost every image all its retries, nor last for ever. */
const REST_MS = 30_000;

export class Graph {
  readonly images: Image[] = [];
  /** All but what is done or dropped. */
  readonly #vertices = new Map<string, Vertex>();
  /** Keys only: a run may have millions of nodes, of which few are open at a time. */
  readonly #done = new Set<string>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Adds a root; answers its vertex when it is new. */
  addRoot(node: Node): Vertex | undefined {
    const key = nodeKey(node);
    const known = this.#vertices.get(key);
    const root = known ?? this.#add(key, node, 0);
    if (node.kind !== 'image') learn(root, node);
    const image: Image = { node, root, result: undefined };
    this.images.push(image);
    root.images.push(image);
    return known === undefined ? root : undefined;
  }

  /**
   * Hangs children below a vertex whose visit answered them. Answers those that now need a visit, or the error of one that
   * has failed for good already.
   * @throws GantryError MALFORMED for a child that is its own ancestor
   */
  expand(parent: Vertex, children: readonly Child[]): { toVisit: Vertex[]; broken?: GantryError } {
    const nodes = children.map((child) => childNode(parent.node, child));
    this.#refuseCycle(parent, nodes);
    parent.children = parent.children.concat(children);
    parent.phase = 'settle';
    parent.status = 'idle';
    const toVisit: Vertex[] = [];
    for (const node of nodes) {
      const key = nodeKey(node);
      if (this.#done.has(key)) continue;
      const known = this.#vertices.get(key);
      const child = known ?? this.#add(key, node, parent.depth + 1);
      if (known === undefined || this.#join(known, node, parent.depth + 1)) toVisit.push(child);
      if (child.error !== undefined) return { toVisit: [], broken: child.error };
      child.parents.add(parent);
      parent.below.add(child);
    }
    return { toVisit };
  }

  /** Marks a vertex as finished well. Answers the parents whose last open child it was, and the images it completes. */
  finish(vertex: Vertex): { ready: Vertex[]; completed: ImageResult[] } {
    vertex.status = 'done';
    this.#vertices.delete(vertex.key);
    if (!isRepeatable(vertex.node)) this.#done.add(vertex.key);
    const [first] = vertex.parents;
    if (first !== undefined) {
      first.moved.bytes += vertex.moved.bytes;
      first.moved.mounted += vertex.moved.mounted;
    }
    const ready = [...vertex.parents].filter((parent) => parent.below.delete(vertex) && parent.below.size === 0);
    vertex.parents.clear();
    const completed = vertex.images.map((image) => this.#endOf(image, 'done'));
    vertex.images = [];
    unload(vertex);
    return { ready, completed };
  }

  /** Marks a vertex as failed; every image that leads to it fails with it. */
  fail(vertex: Vertex, error: GantryError): Ended {
    vertex.status = 'failed';
    vertex.error = error;
    vertex.failures += 1;
    vertex.failedAtMs = this.#now();
    return this.failAbove(vertex, error);
  }

  /** Fails every image that leads to a vertex. */
  failAbove(vertex: Vertex, error: GantryError): Ended {
    return this.#end([...selfAndAbove(vertex)].filter(isRoot), 'failed', error);
  }

  /** Cancels every image that is open. */
  cancel(error: GantryError): Ended {
    const open = this.images.filter((image) => image.result === undefined);
    return this.#end(new Set(open.map((image) => image.root)), 'cancelled', error);
  }

  /** For a vertex whose work was given up: forgets it, unless somebody has come to want it since and it starts again. */
  giveUp(vertex: Vertex): 'again' | 'dropped' {
    if (isWanted(vertex)) {
      reset(vertex, vertex.node);
      return 'again';
    }
    this.#drop(vertex);
    return 'dropped';
  }

  /** True when there is another way to the content that may work; the vertex is set up to be visited there. */
  tryAnotherWay(vertex: Vertex, error: GantryError): boolean {
    const failed = vertex.node;
    for (let next = vertex.untried.pop(); next !== undefined; next = vertex.untried.pop()) {
      if (!anotherWayMayHelp(error, failed, next)) continue;
      reset(vertex, next);
      return true;
    }
    return false;
  }

  #end(roots: Iterable<Vertex>, state: ImageState, error: GantryError): Ended {
    const results: ImageResult[] = [];
    const unwanted: Vertex[] = [];
    for (const root of roots) {
      for (const image of root.images) results.push(this.#endOf(image, state, error));
      root.images = [];
      if (!isWanted(root)) unwanted.push(root);
    }
    // What is unwanted wants nothing: the list grows while it is read.
    for (const vertex of unwanted) {
      for (const child of vertex.below) {
        child.parents.delete(vertex);
        if (!isWanted(child)) unwanted.push(child);
      }
      vertex.below.clear();
      unload(vertex);
      if (vertex.status === 'idle') this.#drop(vertex);
    }
    return { results, unwanted };
  }

  #endOf(image: Image, state: ImageState, error?: GantryError): ImageResult {
    const { node, root } = image;
    const desc = root.resolved ?? (node.kind === 'image' ? undefined : node.desc);
    const tookMs = root.startedAtMs === undefined ? 0 : this.#now() - root.startedAtMs;
    const skipped = root.skipped === undefined ? {} : { skipped: root.skipped };
    image.result = { root: node, state, desc, error, isEqual: root.isEqual, ...skipped, ...root.moved, tookMs };
    return image.result;
  }

  #drop(vertex: Vertex): void {
    vertex.status = 'dropped';
    this.#vertices.delete(vertex.key);
  }

  /** A cycle would never finish: each of its nodes waits for the next. Honest digests cannot form one, so this is hostile. */
  #refuseCycle(parent: Vertex, children: readonly ContentNode[]): void {
    const known = children.flatMap((node) => this.#vertices.get(nodeKey(node)) ?? []);
    // Most shared children are blobs. Only what waits for something can be an ancestor.
    if (!known.some((child) => child === parent || child.below.size > 0)) return;
    const above = selfAndAbove(parent);
    const child = known.find((each) => above.has(each));
    if (child === undefined) return;
    throw new GantryError(
      'MALFORMED',
      `${nodeLabel(parent.node)} contains ${nodeLabel(child.node)}, which contains it`,
      {
        origin: 'source',
      },
    );
  }

  /** A further parent comes to want a vertex that is not done. True when it has to be visited (again) for it. */
  #join(vertex: Vertex, node: ContentNode, depth: number): boolean {
    const revived = vertex.error !== undefined && this.#mayRevive(vertex, vertex.error, node, depth);
    if (revived) {
      vertex.ways.add(wayOf(node));
      reset(vertex, node);
    } else {
      learn(vertex, node);
    }
    lower(vertex, depth);
    return revived;
  }

  #mayRevive(vertex: Vertex, error: GantryError, node: ContentNode, depth: number): boolean {
    const rested = this.#now() - vertex.failedAtMs >= REST_MS;
    if (retryClass(error) === 'backoff' && (vertex.failures <= MAX_REVIVALS || rested)) return true;
    // Too deep in one image may be well within the bounds of another.
    if (isCode(error, 'TOO_LARGE') && depth < vertex.depth) return true;
    return !vertex.ways.has(wayOf(node)) && anotherWayMayHelp(error, vertex.node, node);
  }

  #add(key: string, node: Node, depth: number): Vertex {
    const vertex: Vertex = {
      key,
      node,
      depth,
      status: 'idle',
      phase: 'visit',
      attempt: 0,
      children: [],
      carry: '',
      round: 0,
      moved: { bytes: 0, mounted: 0 },
      startedAtMs: undefined,
      below: new Set(),
      parents: new Set(),
      images: [],
      ways: new Set([wayOf(node)]),
      untried: [],
      error: undefined,
      failures: 0,
      failedAtMs: 0,
      resolved: undefined,
      isEqual: false,
      skipped: undefined,
    };
    this.#vertices.set(key, vertex);
    return vertex;
  }
}

const isWanted = (vertex: Vertex): boolean => isRoot(vertex) || vertex.parents.size > 0;

const isRoot = (vertex: Vertex): boolean => vertex.images.length > 0;

/** Remembers another way to the content. */
function learn(vertex: Vertex, node: ContentNode): void {
  const way = wayOf(node);
  if (vertex.ways.has(way)) return;
  vertex.ways.add(way);
  vertex.untried.push(node);
}

/** A shorter way from a root shortens the ways to all that is below. */
function lower(top: Vertex, depth: number): void {
  const open: [Vertex, number][] = [[top, depth]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [vertex, at] = next;
    if (at >= vertex.depth) continue;
    vertex.depth = at;
    for (const child of vertex.below) open.push([child, at + 1]);
  }
}

/** Back to the start. Only for what has nothing below it. */
function reset(vertex: Vertex, node: Node): void {
  vertex.node = node;
  vertex.status = 'idle';
  vertex.phase = 'visit';
  vertex.attempt = 0;
  unload(vertex);
  vertex.round = 0;
  vertex.error = undefined;
}

/** Lets go of what its settle would be told. The roots of a run stay until its end, and what they carry is a manifest each. */
function unload(vertex: Vertex): void {
  vertex.children = [];
  vertex.carry = '';
}

function selfAndAbove(vertex: Vertex): Set<Vertex> {
  const found = new Set([vertex]);
  // A set is read in the order of insertion, and what is added meanwhile is read as well.
  for (const each of found) for (const parent of each.parents) found.add(parent);
  return found;
}
