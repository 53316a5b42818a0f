// What two engines must have in common before one takes over what the other computed.
#pragma once

#include <cstdint>
#include <string>

namespace hypenet {

/// Facts that have to be equal where a session is restored. "grid", "numerics" and "device" say
/// that it is exact there too; a restore may leave them aside.
struct SessionFacts {
  std::string model = {}, tokenizer = {}, cache_type = {}, state_type = {}, grid = {}, device = {};
  int64_t numerics = 1, page_tokens = 0;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("model", model);
    field("tokenizer", tokenizer);
    field("cache_type", cache_type);
    field("state_type", state_type);
    field("page_tokens", page_tokens);
    field("grid", grid);
    field("device", device);
    field("numerics", numerics);
  }
};

}  // namespace hypenet
