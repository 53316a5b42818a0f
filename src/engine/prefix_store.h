// Where pieces of kept prompts outlive the engine: files, for instance.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// A piece of a kept prompt: tokens behind those of its parent, their pages, and maybe the states
/// at their end.
struct StoredPiece {
  std::string id = {};      // of all tokens up to its end, their cuts and the salt: 64 digits
  std::string parent = {};  // its id; empty: the piece begins prompts
  std::string salt = {};    // what salt_key says
  std::vector<int32_t> tokens = {};
  bool is_exact = true, is_marked = false, has_states = false;
  int64_t pages = 0;
  int64_t uses = 1;  // and age: what it is worth, as the tree counts it
  double age = 0;
  int64_t bytes = 0;  // in the store
};

/// A prompt's beginning that a store has.
struct StoredPrompt {
  std::string salt = {};  // its key
  std::vector<int32_t> tokens = {};
};

/// The hash of a salt that stands in stores in its place: 64 digits.
std::string salt_key(const std::string& salt);

/// Pieces by id. Used by one thread at a time. Throws Error where something fails; what was written
/// then is not there, or whole.
class PrefixStore {
 public:
  virtual ~PrefixStore() = default;

  /// All that fit this model and how it computes, in any order, by their heads and tokens alone.
  virtual std::vector<StoredPiece> list() = 0;

  /// Writes a piece in the place of what has its id. pages: uint8 [page_bytes] each; states: uint8
  /// [state_bytes], undefined without states. Returns its bytes in the store.
  virtual int64_t write(const StoredPiece& piece, std::span<const Tensor> pages,
                        const Tensor& states) = 0;

  /// Reads into tensors of those sizes; none, or undefined: not wanted.
  virtual void read(const std::string& id, std::span<const Tensor> pages, const Tensor& states) = 0;

  virtual void remove(const std::string& id) = 0;

  /// What failed, for people: one line. Never throws.
  virtual void tell(const std::string& line) = 0;
};

}  // namespace hypenet
