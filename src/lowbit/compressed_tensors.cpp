// One form of names for three formats: weight_packed or weight, weight_scale, and beside them what
// a scheme adds. Signed codes are stored with half of their range added where they are packed.
#include "lowbit/compressed_tensors.h"

#include <algorithm>

#include "base/error.h"
#include "lowbit/rounding.h"

namespace hypenet {
namespace {

constexpr int64_t kWordBits = 32;
constexpr const char* kPacked = "weight_packed";
constexpr const char* kWeight = "weight";
constexpr const char* kScale = "weight_scale";
constexpr const char* kZero = "weight_zero_point";
constexpr const char* kShape = "weight_shape";
constexpr const char* kGroupOfColumn = "weight_g_idx";

int64_t words_of(int64_t codes, int64_t bits) { return divided_up(codes * bits, kWordBits); }

/// weight_shape [2], int64 or int32, which alone says how many of the last word's codes count.
std::pair<int64_t, int64_t> read_shape(const StoredModule& stored, int64_t bits) {
  const Tensor words = stored.matrix(kPacked, torch::kInt32);
  const Tensor shape = stored.get(kShape, {torch::kInt64, torch::kInt32}, {2}).to(torch::kInt64);
  const auto N = shape[0].item<int64_t>(), K = shape[1].item<int64_t>();
  const int64_t most = words.size(1) * (kWordBits / bits);
  HYPENET_CHECK(N == words.size(0) && K > 0 && K <= most && words_of(K, bits) == words.size(1),
                stored.at(kShape), ": expected [", words.size(0), ", ", most,
                "] or up to a word's columns less, as ", kPacked, " has them, found [", N, ", ", K,
                "]");
  return {N, K};
}

QuantisedMatrix sized(const StoredModule& stored, const CompressedScheme& scheme) {
  switch (scheme.format) {
    case CompressedFormat::kPack: {
      const auto [N, K] = read_shape(stored, scheme.bits);
      return {
          .type = scheme.bits == 4 ? CodeType::kInt4 : CodeType::kInt8, .rows = N, .columns = K};
    }
    case CompressedFormat::kInt: {
      const Tensor codes = stored.matrix(kWeight, torch::kInt8);
      return {.type = CodeType::kInt8, .rows = codes.size(0), .columns = codes.size(1)};
    }
    case CompressedFormat::kFloat: {
      const Tensor codes = stored.matrix(kWeight, torch::kFloat8_e4m3fn);
      return {.type = CodeType::kFloat8, .rows = codes.size(0), .columns = codes.size(1)};
    }
  }
  throw Error("compressed format: expected one of CompressedFormat");
}

/// [R, G], or for R one row as well [G] and for one number [].
std::vector<int64_t> scale_shape(const StoredModule& stored, const char* ending, int64_t rows,
                                 int64_t groups) {
  const auto found = stored.tensors.find(ending);
  const int64_t sizes = found == stored.tensors.end() ? 2 : found->second.dim();
  if (rows == 1 && groups == 1 && sizes == 0) return {};
  if (groups == 1 && sizes == 1) return {rows};
  return {rows, groups};
}

/// int8 as the scales are, or int32 words of codes along the rows.
void check_zeros(const StoredModule& stored, const CompressedScheme& scheme, int64_t rows,
                 int64_t groups) {
  const auto found = stored.tensors.find(kZero);
  HYPENET_CHECK(found != stored.tensors.end() || scheme.is_symmetric, stored.at(kZero),
                ": expected it, as config.json's symmetric is false, found none");
  if (found == stored.tensors.end()) return;
  const bool is_packed =
      scheme.format == CompressedFormat::kPack && found->second.scalar_type() == torch::kInt32;
  if (is_packed) {
    stored.get(kZero, {torch::kInt32}, {words_of(rows, scheme.bits), groups});
  } else if (scheme.format == CompressedFormat::kFloat) {
    // Older folders have zeros of nothing, in the codes' type or the scales'.
    stored.get(kZero, {torch::kFloat8_e4m3fn, torch::kFloat32, torch::kFloat16, torch::kBFloat16},
               scale_shape(stored, kZero, rows, groups));
  } else {
    stored.get(kZero, {torch::kInt8}, scale_shape(stored, kZero, rows, groups));
  }
}

/// int16 [R, G], undefined where all are 0.
Tensor read_zeros(const StoredModule& stored, const CompressedScheme& scheme, int64_t rows,
                  int64_t groups) {
  if (!stored.has(kZero)) return {};
  const Tensor found = stored.tensors.at(kZero);
  Tensor zeros = found;
  if (found.scalar_type() == torch::kInt32) {
    const Tensor codes = unpack_words(found.t(), scheme.bits).to(torch::kInt16);
    zeros = codes.narrow(1, 0, rows).t().sub(int64_t{1} << (scheme.bits - 1));
  }
  if (!torch::any(zeros.to(torch::kFloat32)).item<bool>()) return {};
  HYPENET_CHECK(scheme.format != CompressedFormat::kFloat, stored.at(kZero),
                ": expected zeros for float8, found others");
  return zeros.to(torch::kInt16).reshape({rows, groups}).contiguous();
}

Tensor read_codes(const StoredModule& stored, const QuantisedMatrix& form,
                  CompressedFormat format) {
  if (format != CompressedFormat::kPack) return stored.tensors.at(kWeight).contiguous();
  const Tensor bytes = stored.tensors.at(kPacked).contiguous().view(torch::kUInt8);
  if (form.type == CodeType::kInt4) return bytes;
  return torch::bitwise_xor(bytes.narrow(1, 0, form.columns), 128).view(torch::kInt8).contiguous();
}

std::string_view strategy_of(const CompressedScheme& scheme) {
  if (scheme.scale_rows == 0) return "tensor";
  if (scheme.scale_rows > 1) return "block";
  return scheme.group == 0 ? "channel" : "group";
}

}  // namespace

std::string_view compressed_format_name(CompressedFormat format) {
  switch (format) {
    case CompressedFormat::kPack:
      return "pack-quantized";
    case CompressedFormat::kInt:
      return "int-quantized";
    case CompressedFormat::kFloat:
      return "float-quantized";
  }
  throw Error("compressed format: expected one of CompressedFormat");
}

QuantisedMatrix compressed_form(const StoredModule& stored, const CompressedScheme& scheme) {
  QuantisedMatrix matrix = sized(stored, scheme);
  const int64_t N = matrix.rows, K = matrix.columns;
  matrix.group = scheme.group == 0 ? K : scheme.group;
  matrix.scale_rows = scheme.scale_rows == 0 ? N : scheme.scale_rows;
  const bool is_block = scheme.scale_rows > 1;
  HYPENET_CHECK(is_block || K % matrix.group == 0, stored.place, ": expected a multiple of ",
                matrix.group, " columns, as config.json's group_size says, found ", K);
  const int64_t rows = divided_up(N, matrix.scale_rows), groups = matrix.groups();
  stored.scales(kScale, scale_shape(stored, kScale, rows, groups));
  check_zeros(stored, scheme, rows, groups);
  if (stored.has(kGroupOfColumn)) stored.get(kGroupOfColumn, {torch::kInt32}, {K});
  return matrix;
}

QuantisedMatrix unpack_compressed(const StoredModule& stored, const CompressedScheme& scheme) {
  QuantisedMatrix matrix = compressed_form(stored, scheme);
  const int64_t rows = divided_up(matrix.rows, matrix.scale_rows), groups = matrix.groups();
  matrix.codes = read_codes(stored, matrix, scheme.format);
  matrix.scales = stored.tensors.at(kScale).reshape({rows, groups}).contiguous();
  matrix.zeros = read_zeros(stored, scheme, rows, groups);
  if (stored.has(kGroupOfColumn)) {
    matrix.group_of_column = read_group_of_column(stored.tensors.at(kGroupOfColumn), matrix.group,
                                                  groups, stored.at(kGroupOfColumn));
  }
  return matrix;
}

CompressedScheme compressed_scheme(const QuantisedMatrix& matrix) {
  CompressedScheme scheme{
      .bits = matrix.type == CodeType::kInt4 ? 4 : 8,
      .group = matrix.group >= matrix.columns ? 0 : matrix.group,
      .scale_rows = matrix.scale_rows >= matrix.rows && matrix.rows > 1 ? 0 : matrix.scale_rows,
      .is_symmetric = !matrix.zeros.defined()};
  if (matrix.type == CodeType::kInt8) scheme.format = CompressedFormat::kInt;
  if (matrix.type == CodeType::kFloat8) scheme.format = CompressedFormat::kFloat;
  return scheme;
}

ModuleTensors pack_compressed(const QuantisedMatrix& matrix) {
  const std::string place = "packing a quantised matrix";
  check_matrix(matrix, place);
  const int64_t N = matrix.rows, K = matrix.columns;
  HYPENET_CHECK(K % std::min(matrix.group, K) == 0 || matrix.scale_rows > 1, place,
                ": expected a multiple of ", matrix.group, " columns, found ", K);
  HYPENET_CHECK(!matrix.group_of_column.defined(), place,
                ": expected groups of neighbouring columns, found others");
  ModuleTensors tensors = {{kScale, matrix.scales}};
  const int64_t last = matrix.type == CodeType::kInt4 ? 7 : 127;
  HYPENET_CHECK(!matrix.zeros.defined() || matrix.zeros.max().item<int64_t>() <= last, place,
                ": expected zeros of at most ", last, ", found ", last + 1);
  if (matrix.type != CodeType::kInt4) {
    tensors[kWeight] = matrix.codes;
    if (matrix.zeros.defined()) tensors[kZero] = matrix.zeros.to(torch::kInt8);
    return tensors;
  }
  const Tensor codes = matrix.codes.narrow(1, 0, divided_up(K, 2));
  const int64_t missing = words_of(K, 4) * 4 - codes.size(1);
  tensors[kPacked] = torch::constant_pad_nd(codes, {0, missing}).contiguous().view(torch::kInt32);
  tensors[kShape] = torch::tensor({N, K}, torch::kInt64);
  if (matrix.zeros.defined()) {
    const Tensor zeros = pack_int4(matrix.zeros.to(torch::kInt8).t());
    const int64_t rest = words_of(matrix.zeros.size(0), 4) * 4 - zeros.size(1);
    tensors[kZero] =
        torch::constant_pad_nd(zeros, {0, rest}).contiguous().view(torch::kInt32).t().contiguous();
  }
  return tensors;
}

Json compressed_config(const CompressedScheme& scheme, const std::vector<std::string>& ignore) {
  const std::string format(compressed_format_name(scheme.format));
  Json weights = {{"num_bits", scheme.bits},
                  {"type", scheme.format == CompressedFormat::kFloat ? "float" : "int"},
                  {"symmetric", scheme.is_symmetric},
                  {"group_size", nullptr},
                  {"strategy", strategy_of(scheme)},
                  {"dynamic", false}};
  if (strategy_of(scheme) == "group") weights["group_size"] = scheme.group;
  if (strategy_of(scheme) == "block") {
    weights["block_structure"] = {scheme.scale_rows, scheme.group};
  }
  const Json group = {{"targets", {"Linear"}},
                      {"weights", weights},
                      {"input_activations", nullptr},
                      {"output_activations", nullptr},
                      {"format", format}};
  return {{"quant_method", "compressed-tensors"},
          {"format", format},
          {"quantization_status", "compressed"},
          {"global_compression_ratio", nullptr},
          {"kv_cache_scheme", nullptr},
          {"config_groups", {{"group_0", group}}},
          {"ignore", ignore}};
}

}  // namespace hypenet
