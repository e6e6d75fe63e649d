/**
 * Turns a control-flow graph into nested sequences and loops, which is all that WebAssembly has. A strongly connected
 * component becomes a loop; one with several entries gets a dispatcher at its head. No node is duplicated.
 */

/** A node by its number; a loop's body is ordered so that every edge inside it leads forward or to one of its entries. */
export type Item =
  | { readonly kind: "node"; readonly node: number }
  | { readonly kind: "loop"; readonly entries: readonly number[]; readonly body: readonly Item[] };

/** The graph: successors by node number. */
export type Successors = readonly (readonly number[])[];

/** Order the nodes reachable from `root`. */
export function structure(successors: Successors, root: number): Item[] {
  const nodes = reachable(successors, root);
  return sequence(successors, nodes, [root], new Set());
}

function reachable(successors: Successors, root: number): number[] {
  const seen = new Set([root]);
  const order = [root];
  for (let i = 0; i < order.length; i++) {
    for (const next of successors[order[i]!]!) {
      if (seen.has(next)) continue;
      seen.add(next);
      order.push(next);
    }
  }
  return order;
}

/** Order `nodes`, entered at `roots`, ignoring edges to `cut` nodes. */
function sequence(
  successors: Successors,
  nodes: readonly number[],
  roots: readonly number[],
  cut: Set<number>,
): Item[] {
  const inside = new Set(nodes);
  const items: Item[] = [];
  for (const component of components(successors, nodes, roots, inside, cut)) {
    const members = new Set(component);
    const first = component[0]!;
    const cyclic = component.length > 1 || (!cut.has(first) && successors[first]!.includes(first));
    if (!cyclic) {
      items.push({ kind: "node", node: first });
      continue;
    }
    const entries = entriesOf(successors, component, members, nodes, roots, cut);
    const body = sequence(successors, component, entries, new Set([...cut, ...entries]));
    items.push({ kind: "loop", entries, body });
  }
  return items;
}

/** Nodes of a component that are reached from elsewhere in `nodes`, or are roots. */
function entriesOf(
  successors: Successors,
  component: readonly number[],
  members: ReadonlySet<number>,
  nodes: readonly number[],
  roots: readonly number[],
  cut: ReadonlySet<number>,
): number[] {
  const entries = new Set<number>();
  for (const root of roots) if (members.has(root)) entries.add(root);
  for (const node of nodes) {
    if (members.has(node)) continue;
    for (const next of successors[node]!) if (members.has(next) && !cut.has(next)) entries.add(next);
  }
  // Keep the order of the component, which is deterministic.
  return component.filter((node) => entries.has(node));
}

/** Strongly connected components in topological order (Tarjan 1972, without recursion). */
function components(
  successors: Successors,
  nodes: readonly number[],
  roots: readonly number[],
  inside: ReadonlySet<number>,
  cut: ReadonlySet<number>,
): number[][] {
  const index = new Map<number, number>();
  const low = new Map<number, number>();
  const onStack = new Set<number>();
  const stack: number[] = [];
  const found: number[][] = [];
  const visit = (start: number): void => {
    const frames: { node: number; next: number }[] = [{ node: start, next: 0 }];
    index.set(start, index.size);
    low.set(start, index.get(start)!);
    stack.push(start);
    onStack.add(start);
    while (frames.length > 0) {
      const frame = frames.at(-1)!;
      const { node } = frame;
      const targets = successors[node]!;
      if (frame.next < targets.length) {
        const target = targets[frame.next++]!;
        if (!inside.has(target) || cut.has(target)) continue;
        if (!index.has(target)) {
          index.set(target, index.size);
          low.set(target, index.get(target)!);
          stack.push(target);
          onStack.add(target);
          frames.push({ node: target, next: 0 });
        } else if (onStack.has(target)) low.set(node, Math.min(low.get(node)!, index.get(target)!));
        continue;
      }
      frames.pop();
      const parent = frames.at(-1);
      if (parent) low.set(parent.node, Math.min(low.get(parent.node)!, low.get(node)!));
      if (low.get(node) !== index.get(node)) continue;
      const component: number[] = [];
      for (;;) {
        const member = stack.pop()!;
        onStack.delete(member);
        component.push(member);
        if (member === node) break;
      }
      found.push(component.reverse());
    }
  };
  for (const root of roots) if (!index.has(root)) visit(root);
  for (const node of nodes) if (!index.has(node)) visit(node);
  return found.reverse();
}
