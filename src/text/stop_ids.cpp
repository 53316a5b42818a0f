// What a chat model ends a turn with often stands in generation_config.json alone.
#include "text/stop_ids.h"

#include <limits>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "gguf/model_files.h"

namespace hypenet {
namespace {

void add_stop_ids(const ModelFiles& files, std::string_view name, std::set<int32_t>& ids) {
  if (!files.has(name)) return;
  const Json config = files.json(name);
  if (!config.is_object() || !config.contains("eos_token_id")) return;
  const Json& value = config.at("eos_token_id");
  if (value.is_null()) return;
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    HYPENET_CHECK(id.is_number_integer(), files.place(name),
                  ": eos_token_id: expected an integer or an array of integers, found ",
                  json_kind(id));
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    const auto found = id.get<int64_t>();
    HYPENET_CHECK(found >= 0 && found <= kMost, files.place(name), ": eos_token_id: expected 0 to ",
                  kMost, ", found ", id.dump());
    ids.insert(static_cast<int32_t>(found));
  }
}

}  // namespace

std::vector<int32_t> read_stop_ids(const std::filesystem::path& folder,
                                   const Tokenizer& tokenizer) {
  std::set<int32_t> ids;
  const ModelFiles files(folder);
  add_stop_ids(files, "config.json", ids);
  add_stop_ids(files, "generation_config.json", ids);
  if (tokenizer.eos_id()) ids.insert(*tokenizer.eos_id());
  return {ids.begin(), ids.end()};
}

std::vector<int32_t> read_chat_stop_ids(const std::filesystem::path& folder,
                                        const Tokenizer& tokenizer, const ChatTemplate& chat) {
  std::vector<int32_t> ids = read_stop_ids(folder, tokenizer);
  if (chat.end_of_turn().empty()) return ids;
  const auto end = tokenizer.token_id(chat.end_of_turn());
  // Of a template of no known family it may be plain text; then EOS alone ends an answer.
  if (!end && chat.family_name() == "its own") return ids;
  HYPENET_CHECK(end.has_value(), model_file_place(folder, "tokenizer.json"),
                ": expected the chat template's token ", chat.end_of_turn(), ", found none");
  ids.push_back(*end);
  return ids;
}

}  // namespace hypenet
