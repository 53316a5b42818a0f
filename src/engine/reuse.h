// What is reused of earlier prompts, and what is told about it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace hypenet {

/// kExact: only at cuts of the grid, so that an answer has the bits that it has without reuse.
/// kNearest: also where prompts and answers ended. kOff: nothing is reused and nothing kept.
enum class ReuseMode { kExact, kNearest, kOff };
/// Where something lies that is kept; the nearest first.
enum class CacheTier { kNone, kDevice, kHost, kDisk };
/// Why a prompt that begins as a known one was read from its beginning. kShort: the two part before
/// the first cut, or there was none (kNone where something was reused).
enum class ReuseMiss { kNone, kShort, kNoSnapshot, kEvicted, kSalt, kOff };

/// "exact", "nearest", "off".
std::string_view to_string(ReuseMode mode);
/// "none", "gpu", "host", "disk".
std::string_view to_string(CacheTier tier);
/// "none", "short", "no_snapshot", "evicted", "salt", "off".
std::string_view to_string(ReuseMiss miss);

constexpr int64_t kMissKinds = 6;

/// How a prompt was read; whole at the answer's first token.
struct PromptReport {
  using Time = std::chrono::steady_clock::time_point;
  Time queued, admitted, first_token;  // zero: not yet
  int64_t prompt = 0;                  // tokens
  int64_t reused = 0;  // tokens: the position that reading went on from; the rest was computed
  int64_t alike = 0;   // tokens that a known prompt begins with, too
  CacheTier tier = CacheTier::kNone;  // where what was reused lay
  ReuseMode mode = ReuseMode::kOff;
  ReuseMiss miss = ReuseMiss::kNone;
  int64_t pauses = 0;  // of this sequence so far
};

/// Whether users should hear why nothing was reused: of more than 2,048 tokens more than 1,024 were
/// known.
bool is_costly(const PromptReport& report);

/// What is kept of prompts, and what became of it.
struct CacheStats {
  struct Tier {
    int64_t page_bytes = 0, snapshot_bytes = 0, snapshots = 0;
    int64_t most_page_bytes = 0, most_snapshot_bytes = 0;
  };
  Tier device, host, disk;     // of a disk all bytes are page_bytes' budget
  int64_t queried_tokens = 0;  // of prompts that looked for something to reuse
  int64_t device_hit_tokens = 0, host_hit_tokens = 0, disk_hit_tokens = 0;
  std::array<int64_t, kMissKinds> misses = {};  // by ReuseMiss, prompts
  int64_t snapshots_taken = 0, snapshots_thinned = 0;
  // What moved down counts, too.
  int64_t device_snapshots_evicted = 0, host_snapshots_evicted = 0, disk_snapshots_evicted = 0;
  int64_t nodes = 0;  // runs of tokens in the tree
};

}  // namespace hypenet
