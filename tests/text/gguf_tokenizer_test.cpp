// A tokenizer from a GGUF file's keys gives the ids of the tokenizer.json that says the same, for
// each of the pre-tokenizers that files name.
#include <gtest/gtest.h>

#include "tests/support/gguf_of_folder.h"
#include "tests/text/fixture.h"
#include "text/chat_template.h"
#include "text/stop_ids.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

testing_support::GgufBuilder keys_of(const fs::path& path, const char* pre) {
  testing_support::GgufBuilder file = testing_support::tiny_gguf();
  testing_support::add_tokenizer(file, path, pre);
  return file;
}

struct Source {
  const char *folder, *pre;
};

class GgufTokenizer : public testing::TestWithParam<Source> {};

TEST_P(GgufTokenizer, ids_and_texts_are_those_of_the_folder) {
  const fs::path folder = tokenizer_data() / GetParam().folder;
  const TemporaryFolder out;
  write_file(out / "m.gguf", keys_of(folder / "tokenizer.json", GetParam().pre).build());
  const Tokenizer tokenizer = Tokenizer::load(out / "m.gguf");
  for (const TokenizerCase& item : read_cases(read_json(folder / "cases.json"))) {
    EXPECT_EQ(tokenizer.encode(item.text), item.ids) << item.text;
    EXPECT_EQ(tokenizer.decode(item.ids), item.decoded);
    EXPECT_EQ(tokenizer.decode(item.ids, true), item.plain);
  }
}

INSTANTIATE_TEST_SUITE_P(pre, GgufTokenizer,
                         testing::Values(Source{"llama3-like", "llama-bpe"},
                                         Source{"qwen3-cut", "qwen2"},
                                         Source{"smollm2-like", "smollm"}),
                         [](const auto& info) {
                           return std::string(info.param.folder).substr(0, 5);
                         });

TEST(GgufTemplate, chat_template_and_ends_are_the_keys) {
  const TemporaryFolder out;
  auto file = keys_of(tokenizer_data() / "smollm2-like" / "tokenizer.json", "smollm");
  file.size("tokenizer.ggml.eos_token_id", 602).size("tokenizer.ggml.bos_token_id", 600);
  file.text("tokenizer.chat_template",
            "{{ bos_token }}{% for m in messages %}{{ m.content + eos_token }}{% endfor %}");
  write_file(out / "m.gguf", file.build());
  ASSERT_TRUE(ChatTemplate::is_in(out / "m.gguf"));
  const ChatTemplate chat = ChatTemplate::load(out / "m.gguf");
  EXPECT_EQ(chat.render(std::vector<ChatMessage>{{"user", "Hi"}}), "<|endoftext|>Hi<|im_end|>");
  const Tokenizer tokenizer = Tokenizer::load(out / "m.gguf");
  EXPECT_EQ(read_stop_ids(out / "m.gguf", tokenizer), std::vector<int32_t>{602});
}

TEST(StopIds, ids_beyond_32_bits_are_refused) {
  const TemporaryFolder out;
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_data() / "smollm2-like");
  for (const char* name : {"config.json", "generation_config.json"}) {
    for (const char* id : {"4294967559", "[3, 4294967559]", "-1", "18446744073709551615"}) {
      write_file(out / name, concat("{\"eos_token_id\": ", id, "}"));
      EXPECT_ERROR(read_stop_ids(out.path(), tokenizer),
                   concat(name, ": eos_token_id: expected 0 to 2147483647, found "));
    }
    write_file(out / name, "{\"eos_token_id\": [3, 602]}");
    EXPECT_EQ(read_stop_ids(out.path(), tokenizer).front(), 3);
  }
}

TEST(GgufTemplate, files_without_template_have_none) {
  const TemporaryFolder out;
  write_file(out / "m.gguf", testing_support::tiny_gguf().build());
  EXPECT_FALSE(ChatTemplate::is_in(out / "m.gguf"));
}

}  // namespace
}  // namespace hypenet
