// Which of several engines gets a request: the one that has read most of its beginning, else the
// one with least to do.
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace hypenet {

/// Remembers where prompts went, by hashes of their beginnings. What an engine has forgotten since
/// costs time and nothing else. Of one thread.
class PrefixRouter {
 public:
  explicit PrefixRouter(size_t engines) : loads_(engines, 0), fails_(engines, false) {}

  /// The engine for a prompt, whose load it becomes. `salt` keeps prompts of others apart. Throws
  /// Error when every engine has failed.
  size_t choose(std::span<const int32_t> prompt, const std::string& salt);

  /// The same engine, but nothing is to be run there.
  size_t home_of(std::span<const int32_t> prompt, const std::string& salt) const;

  /// The engine has these tokens now, from a file: `key` is salt_key's.
  void learn(size_t engine, std::span<const int32_t> tokens, const std::string& key);

  /// The prompt's answer ended.
  void ended(size_t engine) { --loads_[engine]; }
  /// It gets no more requests.
  void failed(size_t engine) { fails_[engine] = true; }

 private:
  /// An engine may have as many requests more than another, before a known beginning is worth less
  /// than the wait.
  static constexpr int64_t kMostLead = 8;
  static constexpr size_t kBlock = 256;  // tokens
  static constexpr size_t kMostKnown = 1 << 16;

  struct Known {
    uint64_t hash;
    size_t engine;
  };
  using Place = std::list<Known>::iterator;

  size_t least_loaded() const;
  size_t home_of(std::span<const uint64_t> beginnings) const;
  void learn(size_t engine, std::span<const uint64_t> beginnings);

  std::vector<int64_t> loads_;
  std::vector<bool> fails_;
  std::list<Known> known_;  // the latest first
  std::unordered_map<uint64_t, Place> places_;
};

}  // namespace hypenet
