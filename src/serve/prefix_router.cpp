// Hashes of every beginning of whole blocks, the latest kept.
#include "serve/prefix_router.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "base/error.h"
#include "engine/prefix_store.h"

namespace hypenet {
namespace {

uint64_t mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15ULL + (hash << 6) + (hash >> 2);
  hash *= 0xFF51AFD7ED558CCDULL;
  return hash ^ (hash >> 33);
}

/// A hash of every beginning of whole blocks; the shortest first.
std::vector<uint64_t> beginnings(std::span<const int32_t> prompt, const std::string& key,
                                 size_t block) {
  std::vector<uint64_t> hashes;
  uint64_t hash = std::hash<std::string>()(key);
  for (size_t i = 0; i < prompt.size(); ++i) {
    hash = mix(hash, static_cast<uint64_t>(prompt[i]));
    if ((i + 1) % block == 0) hashes.push_back(hash);
  }
  return hashes;
}

}  // namespace

size_t PrefixRouter::least_loaded() const {
  const size_t none = loads_.size();
  size_t best = none;
  for (size_t i = 0; i < loads_.size(); ++i) {
    if (!fails_[i] && (best == none || loads_[i] < loads_[best])) best = i;
  }
  HYPENET_CHECK(best != none, "serve: expected an engine that runs, found none");
  return best;
}

size_t PrefixRouter::home_of(std::span<const uint64_t> beginnings) const {
  const size_t idle = least_loaded();
  for (auto hash = beginnings.rbegin(); hash != beginnings.rend(); ++hash) {
    const auto place = places_.find(*hash);
    if (place == places_.end()) continue;
    const size_t engine = place->second->engine;
    return !fails_[engine] && loads_[engine] - loads_[idle] <= kMostLead ? engine : idle;
  }
  return idle;
}

size_t PrefixRouter::home_of(std::span<const int32_t> prompt, const std::string& salt) const {
  return home_of(beginnings(prompt, salt_key(salt), kBlock));
}

void PrefixRouter::learn(size_t engine, std::span<const uint64_t> beginnings) {
  for (const uint64_t hash : beginnings) {
    const auto [place, is_new] = places_.try_emplace(hash);
    if (!is_new) known_.erase(place->second);
    known_.push_front({hash, engine});
    place->second = known_.begin();
  }
  while (known_.size() > kMostKnown) {
    places_.erase(known_.back().hash);
    known_.pop_back();
  }
}

void PrefixRouter::learn(size_t engine, std::span<const int32_t> tokens, const std::string& key) {
  learn(engine, beginnings(tokens, key, kBlock));
}

size_t PrefixRouter::choose(std::span<const int32_t> prompt, const std::string& salt) {
  const auto hashes = beginnings(prompt, salt_key(salt), kBlock);
  const size_t chosen = home_of(hashes);
  learn(chosen, hashes);
  ++loads_[chosen];
  return chosen;
}

}  // namespace hypenet
