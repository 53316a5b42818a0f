// A tokenizer from a GGUF file's keys gives the ids of the tokenizer.json that says the same, for
// each of the pre-tokenizers that files name; and a folder's tokenizer becomes such keys.
#include "text/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include "gguf/gguf_writer.h"
#include "gguf/model_keys.h"
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

/// A Llama of zeros with this vocabulary.
Json config_of(int64_t vocab_size) {
  return {{"model_type", "llama"},
          {"hidden_size", 8},
          {"intermediate_size", 8},
          {"num_hidden_layers", 1},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 2},
          {"head_dim", 4},
          {"vocab_size", vocab_size},
          {"tie_word_embeddings", true},
          {"attention_bias", false},
          {"rope_scaling", nullptr},
          {"rope_theta", 10000.0},
          {"max_position_embeddings", 8},
          {"rms_norm_eps", 1e-5},
          {"bos_token_id", nullptr},
          {"eos_token_id", nullptr}};
}

struct Written {
  std::vector<std::string> notes = {};
};

/// The folder's tokenizer in a GGUF file.
Written write_keys(const fs::path& folder, int64_t vocab_size, const fs::path& path,
                   const char* architecture = "llama") {
  Written written;
  const Json config = config_of(vocab_size);
  const GgufHead head = gguf_head(config);
  GgufKeyList keys;
  add_model_keys(config, head, keys);
  const auto tell = [&](const std::string& note) { written.notes.push_back(note); };
  add_tokenizer_keys(folder, {architecture, config, vocab_size}, tell, keys);
  std::vector<GgufPlan> plans;
  each_gguf_tensor("llama", head.sizes, true, [&](const GgufTensorName& name) {
    plans.push_back({name.stored, BlockType::kF32, name.shape});
  });
  GgufWriter writer(path, keys, plans);
  for (const GgufPlan& plan : plans) {
    writer.write(std::vector<std::byte>(static_cast<size_t>(plan.bytes())));
  }
  writer.commit();
  return written;
}

TEST_P(GgufTokenizer, keys_written_of_a_folder_give_its_ids) {
  const fs::path folder = tokenizer_data() / GetParam().folder;
  const TemporaryFolder out;
  const Tokenizer before = Tokenizer::load(folder);
  const int64_t rows = before.vocab_size() + 3;  // of an embedding with rows that no token uses
  write_keys(folder, rows, out / "m.gguf");
  EXPECT_EQ(GgufFile(out / "m.gguf").keys().text("tokenizer.ggml.pre"), GetParam().pre);
  const Tokenizer after = Tokenizer::load(out / "m.gguf");
  EXPECT_EQ(after.vocab_size(), before.vocab_size());
  EXPECT_EQ(after.eos_id(), before.eos_id());
  for (const TokenizerCase& item : read_cases(read_json(folder / "cases.json"))) {
    EXPECT_EQ(after.encode(item.text), item.ids) << item.text;
    EXPECT_EQ(after.decode(item.ids, true), item.plain);
  }
}

/// A folder whose files may be changed.
class GgufTokenizerKeys : public testing::Test {
 protected:
  GgufTokenizerKeys() {
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
      const fs::path from = tokenizer_data() / "smollm2-like" / name;
      if (fs::exists(from)) fs::copy_file(from, folder_ / name);
    }
  }
  void change(const char* name, const std::function<void(Json&)>& edit) const {
    Json json = fs::exists(folder_ / name) ? read_json(folder_ / name) : Json(Json::object());
    edit(json);
    write_json(folder_ / name, json);
  }
  Written write(int64_t vocab_size = 700, const char* architecture = "llama") const {
    return write_keys(folder_.path(), vocab_size, out_ / "m.gguf", architecture);
  }
  GgufFile written() const { return GgufFile(out_ / "m.gguf"); }

  TemporaryFolder folder_, out_;
};

TEST_F(GgufTokenizerKeys, what_llama_cpp_would_split_otherwise_is_refused) {
  const auto expect = [&](const std::function<void(Json&)>& edit, const char* text) {
    const std::string before = read_file(folder_ / "tokenizer.json");
    change("tokenizer.json", edit);
    EXPECT_ERROR(write(), text);
    write_file(folder_ / "tokenizer.json", before);
  };
  expect([](Json& json) { json["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false; },
         "tokenizer.json: pre_tokenizer: expected one that llama.cpp has a name for (gpt-2, smollm,"
         " qwen2, llama-bpe), found another");
  expect(
      [](Json& json) {
        json["normalizer"] = {{"type", "NFC"}};
      },
      "tokenizer.json: normalizer: expected null (as smollm has it), found NFC");
  expect([](Json& json) { json["model"]["ignore_merges"] = true; },
         "model.ignore_merges: expected false (as smollm has it), found the other");
  expect([](Json& json) { json["added_tokens"][0]["rstrip"] = true; },
         "rstrip: expected false (a GGUF file has no place for it), found true");
  EXPECT_ERROR(write(100), "tokenizer.json: expected ids below 100 (config.json: vocab_size)");
  EXPECT_TRUE(fs::is_empty(out_.path()));
}

TEST_F(GgufTokenizerKeys, byte_level_alone_is_gpt_2) {
  change("tokenizer.json", [](Json& json) {
    const Json byte_level = json["pre_tokenizer"]["pretokenizers"][1];
    json["pre_tokenizer"] = byte_level;
  });
  write();
  EXPECT_EQ(written().keys().text("tokenizer.ggml.pre"), "gpt-2");
}

TEST_F(GgufTokenizerKeys, ends_and_surroundings_are_told) {
  change("tokenizer_config.json", [](Json& json) {
    json["eos_token"] = "<|im_end|>", json["pad_token"] = "<|endoftext|>";
    json["chat_template"] = "{% for m in messages %}{{ m.content }}{% endfor %}";
  });
  write_json(folder_ / "generation_config.json", {{"eos_token_id", {602, 600, 5, 6}}});
  const Written found = write();
  ASSERT_EQ(found.notes.size(), 1) << "eos, eot and eom are three";
  const GgufFile file = written();
  EXPECT_EQ(file.keys().integer("tokenizer.ggml.eos_token_id"), 602);
  EXPECT_EQ(file.keys().integer("tokenizer.ggml.padding_token_id"), 600);
  EXPECT_FALSE(file.keys().flag("tokenizer.ggml.add_bos_token", true));
  EXPECT_TRUE(ChatTemplate::is_in(out_ / "m.gguf"));
  write_json(folder_ / "generation_config.json", {{"eos_token_id", {602, 600, 5}}});
  EXPECT_TRUE(write(700, "qwen2").notes.empty()) << "its padding is one more";
  const auto with_bos = [](Json& json) {
    json["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single",
                               {{{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}},
                                {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
                              {"pair", Json::array()},
                              {"special_tokens", Json::object()}};
  };
  change("tokenizer.json", with_bos);
  write();
  EXPECT_TRUE(written().keys().flag("tokenizer.ggml.add_bos_token", false));
  EXPECT_FALSE(written().keys().flag("tokenizer.ggml.add_eos_token", true));
}

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
