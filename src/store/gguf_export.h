// A checkpoint as one GGUF file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "gguf/block_type.h"
#include "gguf/gguf_key_list.h"
#include "gguf/model_keys.h"
#include "store/checkpoint.h"

namespace hypenet {

/// Writes the checkpoint's tensors (of `head`'s architecture and sizes) behind the keys, which get
/// general.file_type as well. Matrices are `type`: F32, F16, BF16, Q8_0 or Q4_0; vectors F32; where
/// that is Q4_0 embedding and head are Q8_0, and rows that are no whole blocks F16. `progress`
/// hears of bytes written, and may throw. The file appears complete or not at all. Throws Error as
/// Checkpoint::tensor and FileWriter do, and for numbers that the type cannot hold.
void write_gguf(const std::filesystem::path& path, const Checkpoint& checkpoint,
                const GgufHead& head, GgufKeyList keys, BlockType type,
                const std::function<void(int64_t written, int64_t all)>& progress);

}  // namespace hypenet
