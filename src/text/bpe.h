// Byte-pair encoding of one word: the best-ranked pair of neighbours merges first, the leftmost
// among equals.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer_file.h"

namespace hypenet {

/// Merges by pair of ids. Open addressing: a lookup is one multiplication and mostly one cache
/// line.
class MergeTable {
 public:
  struct Merge {
    int32_t rank = 0;
    int32_t id = 0;  // of the merged token
  };

  explicit MergeTable(size_t merges);
  void insert(int32_t left, int32_t right, Merge merge);  // a pair seen before is replaced
  const Merge* find(int32_t left, int32_t right) const;   // nullptr: the pair does not merge

 private:
  struct Slot {
    uint64_t pair = kEmpty;
    Merge merge;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  size_t slot_of(uint64_t pair) const;

  int shift_ = 0;
  std::vector<Slot> slots_;
};

/// Merges and vocabulary; may be shared between threads.
class Bpe {
 public:
  /// Reused from word to word; one for each call of encode.
  class Workspace {
   public:
    /// `text_size`: bytes about to be encoded, a hint for the size of the cache.
    explicit Workspace(size_t text_size);

   private:
    friend class Bpe;
    struct Symbol {
      int32_t id, previous, next;  // id -1: merged into its left neighbour; links -1: none
    };
    struct Candidate {
      int32_t rank, position, id;
    };
    struct Cached {
      std::string_view word;
      size_t begin = 0, size = 0;  // where its ids are in the output
    };
    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
    std::vector<Cached> cache_;  // a power of two of slots; a word takes the slot of another
  };

  /// Throws Error when a merge names an entry that is not in the vocabulary.
  explicit Bpe(const TokenizerFile& file);

  /// Appends the ids of a word. The word must live, and the ids be only appended to, as long as the
  /// workspace is used.
  void encode(std::string_view word, Workspace& work, std::vector<int32_t>& ids) const;

 private:
  void merge(std::string_view word, Workspace& work, std::vector<int32_t>& ids) const;
  void start(std::string_view word, Workspace& work) const;
  void propose(Workspace& work, int32_t left, int32_t right) const;
  static void link(Workspace& work, int32_t position, int32_t merged_id);

  std::array<int32_t, 256> byte_ids_{};  // -1: the vocabulary lacks the byte, and encode drops it
  MergeTable merges_;
  bool ignore_merges_ = false;
  std::vector<std::string> whole_bytes_;
  std::unordered_map<std::string_view, int32_t> whole_words_;  // only with ignore_merges
};

}  // namespace hypenet
