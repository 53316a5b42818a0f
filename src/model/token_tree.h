// Rows of tokens that begin alike, each shared beginning held once: what scoring runs. Layers that
// look at one token at a time see every node once; mixers see the rows.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// Where the nodes of a tree stand in its rows; on the model's device.
struct TreePaths {
  Tensor rows;    // int64 [R T]: the node of row r's token t; a short row ends in its last node
  Tensor source;  // int64 [N]: r T + t of a row that holds the node
  int64_t count = 0, length = 0;  // R and T
};

/// A batch of rows as a tree.
struct TokenTree {
  Tensor ids;                               // int64 [1, N], on the model's device
  TreePaths paths;
  std::vector<std::vector<int64_t>> nodes;  // [row][t]: the node of that token

  /// Rows of one token at least. Nodes stand in the order of their first row.
  static TokenTree of(std::span<const std::span<const int32_t>> rows, torch::Device device);
};

}  // namespace hypenet
