// A kept prompt taken out of an engine.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// What another engine of the same model, types, page size, grid and device kind needs to go on
/// from it. All tensors lie in host memory.
struct SavedPrefix {
  struct Piece {
    int64_t tokens = 0;
    bool is_exact = false;   // it has the bits of a prefill cut like this
    bool is_marked = false;  // it ends where a client asked
    Tensor states = {};      // uint8 [state_bytes] at its end; undefined: none
  };
  std::vector<int32_t> tokens;
  std::vector<Piece> pieces;  // they follow each other; the last one has states
  std::vector<Tensor> pages;  // uint8 [page_bytes] each, in order; the last one maybe in part
};

}  // namespace hypenet
