// Model folders: one file or shards with an index, written whole or not at all.
#include "store/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
namespace fs = std::filesystem;
using testing::ElementsAre;

NamedTensors three_tensors() {
  return {{"b", torch::arange(4, torch::kFloat32)},
          {"a", torch::arange(4, 8, torch::kFloat32)},
          {"c", torch::arange(6, torch::kFloat32).reshape({2, 3})}};
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

class CheckpointFolder : public testing::Test {
 protected:
  void write(int64_t shard_bytes) {
    write_checkpoint(
        path_,
        {.config = {{"model_type", "x"}}, .tensors = three_tensors(), .shard_bytes = shard_bytes});
  }

  void set_weight_map(const Json& map) {
    write_json(path_ / "model.safetensors.index.json", {{"weight_map", map}});
  }

  TemporaryFolder folder_;
  fs::path path_ = folder_ / "model";
};

TEST_F(CheckpointFolder, one_file_is_read_back) {
  write(1 << 20);
  EXPECT_THAT(names_in(path_), ElementsAre("config.json", "model.safetensors", "run.json"));
  const Checkpoint checkpoint(path_);
  EXPECT_EQ(checkpoint.config().at("model_type"), "x");
  EXPECT_THAT(checkpoint.names(), ElementsAre("a", "b", "c"));
  for (const auto& [name, tensor] : three_tensors())
    EXPECT_TRUE(checkpoint.tensor(name).equal(tensor)) << name;
}

TEST_F(CheckpointFolder, shards_are_read_back) {
  write(32);
  EXPECT_THAT(names_in(path_), ElementsAre("config.json", "model-00001-of-00002.safetensors",
                                           "model-00002-of-00002.safetensors",
                                           "model.safetensors.index.json", "run.json"));
  const Json index = read_json(path_ / "model.safetensors.index.json");
  EXPECT_EQ(index.at("metadata").at("total_size"), 56);
  EXPECT_EQ(index.at("weight_map").at("a"), "model-00001-of-00002.safetensors");
  EXPECT_EQ(index.at("weight_map").at("c"), "model-00002-of-00002.safetensors");
  const Checkpoint checkpoint(path_);
  for (const auto& [name, tensor] : three_tensors())
    EXPECT_TRUE(checkpoint.tensor(name).equal(tensor)) << name;
}

TEST_F(CheckpointFolder, a_tensor_larger_than_a_shard_gets_one_of_its_own) {
  write(1);
  EXPECT_EQ(names_in(path_).size(), 6u);
  EXPECT_TRUE(Checkpoint(path_).tensor("c").equal(three_tensors()[2].second));
}

TEST_F(CheckpointFolder, saving_what_was_loaded_gives_the_same_bytes) {
  write(1 << 20);
  const Checkpoint first(path_);
  NamedTensors tensors;
  for (const std::string& name : first.names()) tensors.emplace_back(name, first.tensor(name));
  write_checkpoint(folder_ / "second", {.config = first.config(), .tensors = tensors});
  const Checkpoint second(folder_ / "second");
  NamedTensors again;
  for (const std::string& name : second.names()) again.emplace_back(name, second.tensor(name));
  write_checkpoint(folder_ / "third", {.config = second.config(), .tensors = again});
  for (const char* file : {"config.json", "model.safetensors"}) {
    EXPECT_EQ(read_file(folder_.path() / "second" / file),
              read_file(folder_.path() / "third" / file))
        << file;
  }
}

TEST_F(CheckpointFolder, replacing_a_folder_by_its_own_tensors_works) {
  write(32);
  const Checkpoint old(path_);
  write_checkpoint(
      path_,
      {.config = old.config(), .tensors = {{"a", old.tensor("a")}}, .companions_from = path_});
  EXPECT_THAT(names_in(path_), ElementsAre("config.json", "model.safetensors", "run.json"));
  EXPECT_TRUE(Checkpoint(path_).tensor("a").equal(three_tensors()[1].second));
}

TEST_F(CheckpointFolder, companions_and_run_are_carried_along) {
  const fs::path from = folder_ / "teacher";
  fs::create_directories(from);
  write_file(from / "tokenizer.json", "{tokens}");
  write_file(from / "generation_config.json", "{}");
  write_file(from / "model.bin", "weights");
  write_checkpoint(
      path_,
      {.config = Json::object(), .tensors = {}, .run = Json{{"seed", 1}}, .companions_from = from});
  EXPECT_THAT(names_in(path_), ElementsAre("config.json", "generation_config.json",
                                           "model.safetensors", "run.json", "tokenizer.json"));
  EXPECT_EQ(read_file(path_ / "tokenizer.json"), "{tokens}");
  EXPECT_EQ(read_json(path_ / "run.json").at("seed"), 1);
}

TEST_F(CheckpointFolder, a_failed_write_leaves_nothing) {
  NamedTensors tensors = three_tensors();
  tensors.emplace_back("z", torch::ones({2}, torch::kComplexFloat));
  EXPECT_ERROR(
      write_checkpoint(path_, {.config = Json::object(), .tensors = tensors, .shard_bytes = 16}),
      "tensor z: type ComplexFloat has no name in safetensors");
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(CheckpointFolder, a_failed_write_leaves_the_old_folder) {
  write(1 << 20);
  const NamedTensors tensors = {{"z", torch::ones({2}, torch::kComplexFloat)}};
  EXPECT_ERROR(write_checkpoint(path_, {.config = Json::object(), .tensors = tensors}), "tensor z");
  EXPECT_TRUE(Checkpoint(path_).contains("a"));
  EXPECT_THAT(names_in(folder_.path()), ElementsAre("model"));
}

TEST_F(CheckpointFolder, one_name_in_two_shards_is_an_error) {
  const NamedTensors tensors = {{"a", torch::ones({4})}, {"a", torch::ones({4})}};
  EXPECT_ERROR(
      write_checkpoint(path_, {.config = Json::object(), .tensors = tensors, .shard_bytes = 16}),
      "tensor a: expected a name of its own, found it twice");
}

TEST_F(CheckpointFolder, a_tensor_of_another_shape_is_named_with_its_file) {
  write(32);
  const Checkpoint checkpoint(path_);
  EXPECT_ERROR(checkpoint.tensor("c", std::vector<int64_t>{3, 2}),
               "model-00002-of-00002.safetensors: tensor c: expected shape [3, 2], found [2, 3]");
  EXPECT_TRUE(checkpoint.tensor("c", std::vector<int64_t>{2, 3}).defined());
  EXPECT_ERROR(checkpoint.tensor("d"),
               path_.string() + ": tensor d: expected in the checkpoint, found none");
}

TEST_F(CheckpointFolder, missing_parts_are_named) {
  EXPECT_ERROR(Checkpoint(path_), path_.string() + ": expected a model folder, found nothing");
  write(1 << 20);
  EXPECT_ERROR(Checkpoint(path_ / "config.json"),
               "config.json: expected a model folder, found a file: JSON");
  fs::remove(path_ / "config.json");
  EXPECT_ERROR(Checkpoint(path_), "config.json: cannot open: No such file");
  write_file(path_ / "config.json", "[]");
  EXPECT_ERROR(Checkpoint(path_), "config.json: expected an object, found an array");
  write_file(path_ / "config.json", "{}");
  fs::remove(path_ / "model.safetensors");
  EXPECT_ERROR(Checkpoint(path_),
               ": expected model.safetensors or model.safetensors.index.json, found neither");
}

TEST_F(CheckpointFolder, other_forms_of_weights_are_named) {
  write(1 << 20);
  fs::remove(path_ / "model.safetensors");
  const auto expect = [&](const std::string& name, const std::string& text) {
    write_file(path_ / name, "x");
    EXPECT_ERROR(Checkpoint(path_), "found neither, but " + text);
    fs::remove(path_ / name);
  };
  expect("model.safetensors.incomplete", "model.safetensors.incomplete, an unfinished download");
  expect("pytorch_model.bin", "pytorch_model.bin, PyTorch's form: save the model again");
  expect("consolidated.00.pth", "consolidated.00.pth, PyTorch's form");
  expect("model-q4.gguf", "model-q4.gguf, llama.cpp's form");
  expect("adapter_model.safetensors", "adapter_model.safetensors, an adapter");
  expect("model-00001-of-00002.safetensors", "model-00001-of-00002.safetensors, no whole model");
  fs::remove(path_ / "config.json");
  write_file(path_ / "model-q4.gguf", "x");
  EXPECT_ERROR(Checkpoint(path_),
               "config.json: cannot open: No such file or directory; the folder "
               "has model-q4.gguf, llama.cpp's form");
}

TEST_F(CheckpointFolder, links_to_missing_files_are_named) {
  write(32);
  const fs::path shard = path_ / "model-00002-of-00002.safetensors";
  fs::remove(shard);
  EXPECT_ERROR(Checkpoint(path_), "found no such file (1 of 2 shards missing: an incomplete");
  fs::create_symlink("../../blobs/1", shard);
  EXPECT_ERROR(Checkpoint(path_), "found a link to a missing file (../../blobs/1) (1 of 2 shards");
  fs::create_symlink("../../blobs/2", path_ / "model.safetensors");
  EXPECT_ERROR(Checkpoint(path_),
               "model.safetensors: expected a safetensors file, found a link to");
  fs::remove(path_ / "config.json");
  fs::create_symlink("../../blobs/3", path_ / "config.json");
  EXPECT_ERROR(Checkpoint(path_), "config.json: expected JSON, found a link to a missing file");
}

TEST_F(CheckpointFolder, a_tensor_that_the_index_leaves_out_is_read_too) {
  write(32);
  set_weight_map(
      {{"a", "model-00001-of-00002.safetensors"}, {"c", "model-00002-of-00002.safetensors"}});
  EXPECT_THAT(Checkpoint(path_).names(), ElementsAre("a", "b", "c"));
  write_safetensors(path_ / "model-00002-of-00002.safetensors",
                    {{"c", torch::ones({2})}, {"a", torch::ones({2})}});
  EXPECT_ERROR(Checkpoint(path_), "tensor a: expected in one shard, found in model-00001-of-00002");
}

TEST_F(CheckpointFolder, an_index_that_promises_too_much_is_an_error) {
  write(32);
  set_weight_map({{"a", "model-00003-of-00002.safetensors"}});
  EXPECT_ERROR(
      Checkpoint(path_),
      "index.json: tensor a: expected shard model-00003-of-00002.safetensors, found no such");
  set_weight_map({{"d", "model-00001-of-00002.safetensors"}});
  EXPECT_ERROR(
      Checkpoint(path_),
      "index.json: tensor d: expected in model-00001-of-00002.safetensors, found no such tensor");
  set_weight_map({{"a", 1}});
  EXPECT_ERROR(Checkpoint(path_), "index.json: weight_map: a: expected a string, found an integer");
  set_weight_map({{"a", "../model-00001-of-00002.safetensors"}});
  EXPECT_ERROR(
      Checkpoint(path_),
      "index.json: weight_map: a: expected the name of a file in the same folder, found ..");
  write_file(path_ / "model.safetensors.index.json", "{}");
  EXPECT_ERROR(Checkpoint(path_), "index.json: expected an object with an object weight_map");
}

TEST_F(CheckpointFolder, a_truncated_shard_is_named) {
  write(32);
  fs::resize_file(path_ / "model-00002-of-00002.safetensors",
                  fs::file_size(path_ / "model-00002-of-00002.safetensors") - 4);
  EXPECT_ERROR(Checkpoint(path_),
               "model-00002-of-00002.safetensors: tensor c: expected 24 bytes of data in the file, "
               "found 20");
}

}  // namespace
}  // namespace hypenet
