// Each row takes over the nodes of the row before it as far as both begin alike.
#include "model/token_tree.h"

#include <algorithm>

namespace hypenet {

TokenTree TokenTree::of(std::span<const std::span<const int32_t>> rows, torch::Device device) {
  const auto options = torch::dtype(torch::kInt64);
  size_t length = 0;
  for (const auto& row : rows) length = std::max(length, row.size());
  TokenTree tree;
  tree.nodes.resize(rows.size());
  std::vector<int64_t> ids, source;
  Tensor paths = torch::empty({static_cast<int64_t>(rows.size() * length)}, options);
  int64_t* place = paths.data_ptr<int64_t>();
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto row = rows[r];
    std::vector<int64_t>& nodes = tree.nodes[r];
    nodes.reserve(row.size());
    if (r > 0) {
      const auto alike = std::ranges::mismatch(row, rows[r - 1]).in1 - row.begin();
      nodes.assign(tree.nodes[r - 1].begin(), tree.nodes[r - 1].begin() + alike);
    }
    for (size_t t = nodes.size(); t < row.size(); ++t) {
      nodes.push_back(static_cast<int64_t>(ids.size()));
      ids.push_back(row[t]);
      source.push_back(static_cast<int64_t>(r * length + t));
    }
    place = std::fill_n(std::copy(nodes.begin(), nodes.end(), place), length - row.size(),
                        nodes.back());
  }
  tree.ids = torch::tensor(ids, options).unsqueeze(0).to(device);
  tree.paths = {.rows = paths.to(device),
                .source = torch::tensor(source, options).to(device),
                .count = static_cast<int64_t>(rows.size()),
                .length = static_cast<int64_t>(length)};
  return tree;
}

}  // namespace hypenet
