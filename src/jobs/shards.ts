/** Models in shards: `modelsPerShard` a file, the last with what is left. */
export interface Shard {
  shard: number;
  /** Models [first, end). */
  first: number;
  end: number;
}

export function shardRanges(count: number, modelsPerShard: number): Shard[] {
  const shards: Shard[] = [];
  for (let first = 0; first < count; first += modelsPerShard) {
    shards.push({ shard: shards.length, first, end: Math.min(first + modelsPerShard, count) });
  }
  return shards;
}

/** Where model `place` of its group is. */
export function placeInShards(place: number, modelsPerShard: number): { shard: number; row: number } {
  return { shard: Math.floor(place / modelsPerShard), row: place % modelsPerShard };
}
