// Names of types are those of the safetensors format, which is what a reader of the file has seen.
#include "lowbit/module_tensors.h"

#include <algorithm>

#include "base/error.h"
#include "base/join.h"

namespace hypenet {
namespace {

std::string stored_name_of(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return "F32";
    case torch::kFloat16:
      return "F16";
    case torch::kBFloat16:
      return "BF16";
    case torch::kFloat8_e4m3fn:
      return "F8_E4M3";
    case torch::kInt64:
      return "I64";
    case torch::kInt32:
      return "I32";
    case torch::kInt8:
      return "I8";
    case torch::kUInt8:
      return "U8";
    default:
      return torch::toString(type);
  }
}

std::string names_of(const std::vector<torch::ScalarType>& types) {
  std::vector<std::string> names;
  names.reserve(types.size());
  for (const torch::ScalarType type : types) names.push_back(stored_name_of(type));
  return join(names, " or ");
}

}  // namespace

std::string StoredModule::at(std::string_view ending) const { return concat(place, ".", ending); }

Tensor StoredModule::get(const std::string& ending, const std::vector<torch::ScalarType>& types,
                         const std::vector<int64_t>& shape) const {
  const torch::IntArrayRef expected(shape);
  const auto found = tensors.find(ending);
  HYPENET_CHECK(found != tensors.end(), at(ending), ": expected ", names_of(types), " ", expected,
                ", found none");
  const Tensor& tensor = found->second;
  const bool is_type = std::ranges::find(types, tensor.scalar_type()) != types.end();
  HYPENET_CHECK(is_type && tensor.sizes() == expected, at(ending), ": expected ", names_of(types),
                " ", expected, ", found ", stored_name_of(tensor.scalar_type()), " ",
                tensor.sizes());
  return tensor;
}

Tensor StoredModule::matrix(const std::string& ending, torch::ScalarType type) const {
  const auto found = tensors.find(ending);
  HYPENET_CHECK(found != tensors.end(), at(ending), ": expected an ", stored_name_of(type),
                " matrix, found none");
  const Tensor& tensor = found->second;
  HYPENET_CHECK(tensor.scalar_type() == type && tensor.dim() == 2 && tensor.numel() > 0, at(ending),
                ": expected an ", stored_name_of(type), " matrix, found ",
                stored_name_of(tensor.scalar_type()), " ", tensor.sizes());
  return tensor;
}

Tensor StoredModule::scales(const std::string& ending, const std::vector<int64_t>& shape) const {
  return get(ending, {torch::kFloat32, torch::kFloat16, torch::kBFloat16}, shape);
}

int64_t divided_up(int64_t count, int64_t by) { return by >= count ? 1 : (count - 1) / by + 1; }

Tensor unpack_words(const Tensor& words, int64_t bits) {
  const Tensor bytes = words.contiguous().view(torch::kUInt8);
  if (bits == 8) return bytes.clone();
  return torch::stack({torch::bitwise_and(bytes, 15), torch::bitwise_right_shift(bytes, 4)}, 2)
      .flatten(1);
}

Tensor read_group_of_column(const Tensor& stored, int64_t group, int64_t groups,
                            const std::string& place) {
  const Tensor found = stored.contiguous();
  const int32_t* const numbers = found.const_data_ptr<int32_t>();
  const int64_t columns = found.numel();
  bool is_stair = true, is_unset = true;
  for (int64_t k = 0; k < columns; ++k) {
    is_stair = is_stair && numbers[k] == k / group;
    is_unset = is_unset && numbers[k] == -1;
  }
  if (is_stair || is_unset) return {};
  for (int64_t k = 0; k < columns; ++k) {
    HYPENET_CHECK(numbers[k] >= 0 && numbers[k] < groups, place, ": expected groups of 0 to ",
                  groups - 1, ", found ", numbers[k], " for column ", k);
  }
  return found;
}

}  // namespace hypenet
