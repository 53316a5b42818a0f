// Sizes are read and checked first; which tensors there must be follows from them.
#include "gguf/gguf_model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <type_traits>

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

std::string describe_shape(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  sizes.reserve(shape.size());
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  return concat("[", join(sizes, ", "), "]");
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
  const std::vector<std::string_view>& known = gguf_architectures();
  HYPENET_CHECK(std::ranges::find(known, name) != known.end(), keys().place("general.architecture"),
                ": expected ", join(known, ", "), ", found ", excerpt(name));
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

int64_t GgufModel::size(std::string_view name, std::optional<int64_t> fallback) const {
  const std::string own = key(name);
  const int64_t found = fallback ? keys().integer(own, *fallback) : keys().integer(own);
  HYPENET_CHECK(found > 0 && found <= kMostOfASize, keys().place(own), ": expected 1 to ",
                kMostOfASize, ", found ", found);
  return found;
}

void GgufModel::require(std::string_view name, int64_t expected, std::string_view why) const {
  const int64_t found = keys().integer(key(name), expected);
  HYPENET_CHECK(found == expected, keys().place(key(name)), ": expected ", expected, " (", why,
                "), found ", found);
}

void GgufModel::read_sizes() {
  sizes_.hidden_size = size("embedding_length");
  sizes_.intermediate_size = size("feed_forward_length");
  sizes_.num_hidden_layers = size("block_count");
  sizes_.num_attention_heads = size("attention.head_count");
  sizes_.num_key_value_heads = size("attention.head_count_kv", sizes_.num_attention_heads);
  const int64_t even = sizes_.hidden_size / sizes_.num_attention_heads;
  sizes_.head_dim = size("attention.key_length", std::max<int64_t>(even, 1));
  require("attention.value_length", sizes_.head_dim, "as keys have it");
  require("expert_count", 0, "no mixture of experts is built");
  require("attention.sliding_window", 0, "no sliding window is built");
  if (architecture() == "hypenet") return read_hypenet();
  require("rope.dimension_count", sizes_.head_dim, "RoPE turns whole heads");
  HYPENET_CHECK(sizes_.head_dim % 2 == 0, keys().place(key("attention.key_length")),
                ": expected an even size (RoPE), found ", sizes_.head_dim);
}

void GgufModel::read_hypenet() {
  HypeNetForm& form = sizes_.hypenet;
  const std::string layers = key("attention.recurrent_layers");
  form.recurrent_layers = keys().flags(layers);
  HYPENET_CHECK(std::ssize(form.recurrent_layers) == sizes_.num_hidden_layers, keys().place(layers),
                ": expected ", sizes_.num_hidden_layers, " entries (", key("block_count"),
                "), found ", form.recurrent_layers.size());
  form.heads = form.key_heads = sizes_.num_attention_heads;
  form.head_dim = sizes_.head_dim;
  const auto read = [this](const char* /*published*/, const char* name, auto& member) {
    if constexpr (std::is_same_v<std::decay_t<decltype(member)>, bool>) {
      member = keys().flag(key(name), member);
    } else {
      member = size(name, member);
    }
  };
  form.visit(read);
  if (!form.has_recurrent_layers()) return;
  // As many of keys as of queries, unless the file says otherwise.
  form.key_heads = size("linear_attention.head_count", form.heads);
  form.visit_recurrent(read);
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
  const auto embedding = stored.find("token_embd.weight");
  const bool is_matrix = embedding != stored.end() && embedding->second->shape.size() == 2;
  sizes_.vocab_size = is_matrix ? embedding->second->shape.front() : 1;
  if (stored.contains("rope_freqs.weight")) {
    rope_divisors_ = &take(stored, "rope_freqs.weight", {sizes_.turned_size() / 2});
  }
  const bool is_tied = !stored.contains("output.weight");
  each_gguf_tensor(architecture(), sizes_, is_tied, [&](const GgufTensorName& name) {
    tensors_[name.published] = {.stored = &take(stored, name.stored, name.shape),
                                .paired_heads = name.paired_heads};
  });
  HYPENET_CHECK(stored.empty(), path_.string(), ": tensor ", stored.begin()->first,
                ": expected only tensors of a ", architecture(), " with ", sizes_.num_hidden_layers,
                " layers, found this one as well");
}

}  // namespace hypenet
