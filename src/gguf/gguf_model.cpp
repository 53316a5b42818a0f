// The tensors of an architecture are a table: GGUF's name, the published one, and the shape.
#include "gguf/gguf_model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <functional>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/join.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMostOfASize = int64_t{1} << 24;
constexpr const char* kEnding = ".gguf";

struct NumberedName {
  std::string stem;  // in front of -00001-of-00003.gguf
  int64_t number = 0, count = 0;
};

std::string shard_path(const NumberedName& name, int64_t number) {
  const auto digits = [](int64_t value) {
    const std::string text = std::to_string(value);
    return std::string(5 - std::min<size_t>(text.size(), 5), '0') + text;
  };
  return concat(name.stem, "-", digits(number), "-of-", digits(name.count), kEnding);
}

/// Nothing where the file is not named as a shard.
std::optional<NumberedName> numbered_name(const std::string& path) {
  constexpr std::string_view kForm = "-00001-of-00003.gguf";
  if (path.size() < kForm.size()) return std::nullopt;
  NumberedName name{.stem = path.substr(0, path.size() - kForm.size())};
  const std::string end = path.substr(name.stem.size());
  std::from_chars(end.data() + 1, end.data() + 6, name.number);
  std::from_chars(end.data() + 10, end.data() + 15, name.count);
  const bool is_one = name.number > 0 && name.number <= name.count;
  return is_one && shard_path(name, name.number) == path ? std::optional(name) : std::nullopt;
}

/// The shapes that a tensor may have.
enum class Shape { kHidden, kQueries, kKeys, kOutput, kGate, kDown, kHead };

enum class In { kAll, kQwen2, kQwen3 };

struct Row {
  std::string_view stored, published;
  Shape shape;
  bool is_paired = false;  // in a llama
  bool is_bias = false;
  In in = In::kAll;
};

constexpr auto kOfLayers = std::to_array<Row>(
    {{"attn_norm.weight", "input_layernorm.weight", Shape::kHidden},
     {"attn_q.weight", "self_attn.q_proj.weight", Shape::kQueries, true},
     {"attn_k.weight", "self_attn.k_proj.weight", Shape::kKeys, true},
     {"attn_v.weight", "self_attn.v_proj.weight", Shape::kKeys},
     {"attn_output.weight", "self_attn.o_proj.weight", Shape::kOutput},
     {"ffn_norm.weight", "post_attention_layernorm.weight", Shape::kHidden},
     {"ffn_gate.weight", "mlp.gate_proj.weight", Shape::kGate},
     {"ffn_up.weight", "mlp.up_proj.weight", Shape::kGate},
     {"ffn_down.weight", "mlp.down_proj.weight", Shape::kDown},
     {"attn_q.bias", "self_attn.q_proj.bias", Shape::kQueries, false, true, In::kQwen2},
     {"attn_k.bias", "self_attn.k_proj.bias", Shape::kKeys, false, true, In::kQwen2},
     {"attn_v.bias", "self_attn.v_proj.bias", Shape::kKeys, false, true, In::kQwen2},
     {"attn_q_norm.weight", "self_attn.q_norm.weight", Shape::kHead, false, false, In::kQwen3},
     {"attn_k_norm.weight", "self_attn.k_norm.weight", Shape::kHead, false, false, In::kQwen3}});

constexpr auto kArchitectures = std::to_array<std::string_view>({"llama", "qwen2", "qwen3"});

bool is_in(const Row& row, std::string_view architecture) {
  return row.in == In::kAll ||
         (row.in == In::kQwen2 ? architecture == "qwen2" : architecture == "qwen3");
}

std::vector<int64_t> shape_of(const Row& row, const GgufSizes& sizes) {
  const int64_t D = sizes.hidden_size, I = sizes.intermediate_size;
  const int64_t queries = sizes.num_attention_heads * sizes.head_dim;
  const int64_t keys = sizes.num_key_value_heads * sizes.head_dim;
  const auto rows = [&](int64_t count) {
    return row.is_bias ? std::vector{count} : std::vector{count, D};
  };
  switch (row.shape) {
    case Shape::kHidden:
      return {D};
    case Shape::kHead:
      return {sizes.head_dim};
    case Shape::kQueries:
      return rows(queries);
    case Shape::kKeys:
      return rows(keys);
    case Shape::kOutput:
      return {D, queries};
    case Shape::kGate:
      return {I, D};
    case Shape::kDown:
      return {D, I};
  }
  return {};
}

std::string describe_shape(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  sizes.reserve(shape.size());
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  return concat("[", join(sizes, ", "), "]");
}

int64_t paired_heads(const Row& row, std::string_view architecture, const GgufSizes& sizes) {
  if (!row.is_paired || architecture != "llama") return 0;
  return row.shape == Shape::kQueries ? sizes.num_attention_heads : sizes.num_key_value_heads;
}

}  // namespace

bool is_gguf(const fs::path& path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::is_directory(status)) return false;
  if (path.extension() == kEnding) return true;
  if (!fs::is_regular_file(status)) return false;
  std::array<char, 4> word{};
  std::ifstream(path, std::ios::binary).read(word.data(), word.size());
  return std::string_view(word.data(), word.size()) == "GGUF";
}

GgufModel::GgufModel(const fs::path& path) : path_(path) {
  open_shards();
  const std::string_view name = architecture();
  HYPENET_CHECK(std::ranges::find(kArchitectures, name) != kArchitectures.end(),
                keys().place("general.architecture"), ": expected ", join(kArchitectures, ", "),
                ", found ", excerpt(name));
  read_sizes();
  name_tensors();
}

void GgufModel::open_shards() {
  constexpr const char *kCount = "split.count", *kNumber = "split.no";
  files_.emplace_back(path_);
  const int64_t count = keys().integer(kCount, 1);
  if (count <= 1) return;
  const auto name = numbered_name(path_.string());
  HYPENET_CHECK(name && name->count == count, path_.string(), ": expected a name that ends in ",
                shard_path({.stem = "", .count = count}, 1), " for one of ", count, " shards (",
                kCount, "), found another");
  for (int64_t i = 1; i <= count; ++i) {
    HYPENET_CHECK(fs::exists(shard_path(*name, i)), path_.string(), ": expected ", count,
                  " shards beside one another, found no ", shard_path(*name, i),
                  " (an incomplete download?)");
  }
  files_.clear();
  for (int64_t i = 0; i < count; ++i) {
    const GgufFile& file = files_.emplace_back(shard_path(*name, i + 1));
    const bool fits = file.keys().integer(kCount, 1) == count;
    HYPENET_CHECK(fits, file.keys().place(kCount), ": expected ", count, ", found another number");
    const int64_t number = file.keys().integer(kNumber, i);
    HYPENET_CHECK(number == i, file.keys().place(kNumber), ": expected ", i, ", found ", number);
  }
}

std::string GgufModel::key(std::string_view name) const {
  return concat(architecture(), ".", name);
}

void GgufModel::read_sizes() {
  const auto size = [&](std::string_view name, std::optional<int64_t> fallback = {}) {
    const std::string own = key(name);
    const int64_t found = fallback ? keys().integer(own, *fallback) : keys().integer(own);
    HYPENET_CHECK(found > 0 && found <= kMostOfASize, keys().place(own), ": expected 1 to ",
                  kMostOfASize, ", found ", found);
    return found;
  };
  sizes_.hidden_size = size("embedding_length");
  sizes_.intermediate_size = size("feed_forward_length");
  sizes_.num_hidden_layers = size("block_count");
  sizes_.num_attention_heads = size("attention.head_count");
  sizes_.num_key_value_heads = size("attention.head_count_kv", sizes_.num_attention_heads);
  const int64_t even = sizes_.hidden_size / sizes_.num_attention_heads;
  sizes_.head_dim = size("attention.key_length", std::max<int64_t>(even, 1));
  const auto require = [&](std::string_view name, int64_t expected, std::string_view why) {
    const int64_t found = keys().integer(key(name), expected);
    HYPENET_CHECK(found == expected, keys().place(key(name)), ": expected ", expected, " (", why,
                  "), found ", found);
  };
  require("attention.value_length", sizes_.head_dim, "as keys have it");
  require("rope.dimension_count", sizes_.head_dim, "RoPE turns whole heads");
  require("expert_count", 0, "no mixture of experts is built");
  require("attention.sliding_window", 0, "no sliding window is built");
  HYPENET_CHECK(sizes_.head_dim % 2 == 0, keys().place(key("attention.key_length")),
                ": expected an even size (RoPE), found ", sizes_.head_dim);
}

const GgufTensor& GgufModel::take(std::map<std::string, const GgufTensor*>& stored,
                                  const std::string& name,
                                  const std::vector<int64_t>& shape) const {
  const auto found = stored.find(name);
  HYPENET_CHECK(found != stored.end(), path_.string(), ": tensor ", name, ": expected one (",
                key("block_count"), " is ", sizes_.num_hidden_layers, "), found none");
  const GgufTensor& tensor = *found->second;
  HYPENET_CHECK(tensor.shape == shape, path_.string(), ": tensor ", name, ": expected shape ",
                describe_shape(shape), ", found ", describe_shape(tensor.shape));
  stored.erase(found);
  return tensor;
}

void GgufModel::name_tensors() {
  std::map<std::string, const GgufTensor*> stored;
  for (const GgufFile& file : files_) {
    for (const GgufTensor& tensor : file.tensors()) {
      HYPENET_CHECK(stored.emplace(tensor.name, &tensor).second, file.path().string(), ": tensor ",
                    tensor.name, ": expected in one shard, found in two");
    }
  }
  const int64_t D = sizes_.hidden_size;
  const auto embedding = stored.find("token_embd.weight");
  const bool is_matrix = embedding != stored.end() && embedding->second->shape.size() == 2;
  sizes_.vocab_size = is_matrix ? embedding->second->shape.front() : 1;
  const auto add = [&](const std::string& name, const std::string& published,
                       const std::vector<int64_t>& shape, int64_t heads = 0) {
    tensors_[published] = {.stored = &take(stored, name, shape), .paired_heads = heads};
  };
  add("token_embd.weight", "model.embed_tokens.weight", {sizes_.vocab_size, D});
  add("output_norm.weight", "model.norm.weight", {D});
  if (stored.contains("output.weight")) {
    add("output.weight", "lm_head.weight", {sizes_.vocab_size, D});
  }
  if (stored.contains("rope_freqs.weight")) {
    rope_divisors_ = &take(stored, "rope_freqs.weight", {sizes_.head_dim / 2});
  }
  for (int64_t layer = 0; layer < sizes_.num_hidden_layers; ++layer) {
    for (const Row& row : kOfLayers) {
      if (!is_in(row, architecture())) continue;
      add(concat("blk.", layer, ".", row.stored),
          concat("model.layers.", layer, ".", row.published), shape_of(row, sizes_),
          paired_heads(row, architecture(), sizes_));
    }
  }
  HYPENET_CHECK(stored.empty(), path_.string(), ": tensor ", stored.begin()->first,
                ": expected only tensors of a ", architecture(), " with ", sizes_.num_hidden_layers,
                " layers, found this one as well");
}

}  // namespace hypenet
