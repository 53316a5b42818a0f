// Rows of tokens that begin alike, each shared beginning held once: what scoring runs. Layers that
// look at one token at a time see every node once; mixers see the rows.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

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

  /// x [1, N, W] of the nodes -> [R, T, W] of the rows.
  Tensor to_rows(const Tensor& x) const {
    return x[0].index_select(0, rows).view({count, length, x.size(2)});
  }

  /// y [R, T, W] of the rows -> [1, N, W] of the nodes.
  Tensor to_nodes(const Tensor& y) const {
    return y.flatten(0, 1).index_select(0, source).unsqueeze(0);
  }
};

/// A batch of rows as a tree.
struct TokenTree {
  Tensor ids;  // int64 [1, N], on the model's device
  TreePaths paths;
  std::vector<std::vector<int64_t>> nodes;  // [row][t]: the node of that token

  /// Rows of one token at least. A row shares the beginning that it has in common with the row
  /// before it: sorted rows share all they can.
  static TokenTree of(std::span<const std::span<const int32_t>> rows, torch::Device device);
};

}  // namespace hypenet
