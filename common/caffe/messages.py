"""The part of Caffe's public message format that this project uses, declared here and built at import.

Message names, field names, numbers, labels, defaults and packing are Caffe's (caffe.proto of 2018; test_caffe_files
holds every one against `caffe_pb2`). The messages live in a descriptor pool of their own, so that they can be
imported beside `caffe`, under any protobuf from 3.12 on: no protoc, no generated code to go stale.

Use: `from common.caffe import messages as m; m.NetParameter(name="ResNet-20")`. Fields that we do not declare survive a
round trip of a binary file as unknown fields, behind the known ones.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# One line a field: label type name = number [default]. Labels: one (optional), many (repeated), packed (repeated, packed).
SCHEMA = """
message BlobShape
  packed int64 dim = 1
message BlobProto
  one BlobShape shape = 7
  packed float data = 5
  packed float diff = 6
  packed double double_data = 8
  packed double double_diff = 9
  one int32 num = 1 [0]
  one int32 channels = 2 [0]
  one int32 height = 3 [0]
  one int32 width = 4 [0]
message Datum
  one int32 channels = 1
  one int32 height = 2
  one int32 width = 3
  one bytes data = 4
  one int32 label = 5
  many float float_data = 6
  one bool encoded = 7 [false]
message FillerParameter
  enum VarianceNorm FAN_IN=0 FAN_OUT=1 AVERAGE=2
  one string type = 1 [constant]
  one float value = 2 [0]
  one float min = 3 [0]
  one float max = 4 [1]
  one float mean = 5 [0]
  one float std = 6 [1]
  one int32 sparse = 7 [-1]
  one VarianceNorm variance_norm = 8 [FAN_IN]
message NetStateRule
  one Phase phase = 1
  one int32 min_level = 2
  one int32 max_level = 3
  many string stage = 4
  many string not_stage = 5
message NetState
  one Phase phase = 1 [TEST]
  one int32 level = 2 [0]
  many string stage = 3
message ParamSpec
  enum DimCheckMode STRICT=0 PERMISSIVE=1
  one string name = 1
  one DimCheckMode share_mode = 2
  one float lr_mult = 3 [1]
  one float decay_mult = 4 [1]
message TransformationParameter
  one float scale = 1 [1]
  one bool mirror = 2 [false]
  one uint32 crop_size = 3 [0]
  one string mean_file = 4
  many float mean_value = 5
  one bool force_color = 6 [false]
  one bool force_gray = 7 [false]
message ConcatParameter
  one int32 axis = 2 [1]
  one uint32 concat_dim = 1 [1]
message PowerParameter
  one float power = 1 [1]
  one float scale = 2 [1]
  one float shift = 3 [0]
message LossParameter
  enum NormalizationMode FULL=0 VALID=1 BATCH_SIZE=2 NONE=3
  one int32 ignore_label = 1
  one NormalizationMode normalization = 3 [VALID]
  one bool normalize = 2
message AccuracyParameter
  one uint32 top_k = 1 [1]
  one int32 axis = 2 [1]
  one int32 ignore_label = 3
message BatchNormParameter
  one bool use_global_stats = 1
  one float moving_average_fraction = 2 [.999]
  one float eps = 3 [1e-5]
message ConvolutionParameter
  enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
  one uint32 num_output = 1
  one bool bias_term = 2 [true]
  many uint32 pad = 3
  many uint32 kernel_size = 4
  many uint32 stride = 6
  many uint32 dilation = 18
  one uint32 pad_h = 9 [0]
  one uint32 pad_w = 10 [0]
  one uint32 kernel_h = 11
  one uint32 kernel_w = 12
  one uint32 stride_h = 13
  one uint32 stride_w = 14
  one uint32 group = 5 [1]
  one FillerParameter weight_filler = 7
  one FillerParameter bias_filler = 8
  one Engine engine = 15 [DEFAULT]
  one int32 axis = 16 [1]
  one bool force_nd_im2col = 17 [false]
message DataParameter
  enum DB LEVELDB=0 LMDB=1
  one string source = 1
  one uint32 batch_size = 4
  one uint32 rand_skip = 7 [0]
  one DB backend = 8 [LEVELDB]
  one float scale = 2 [1]
  one string mean_file = 3
  one uint32 crop_size = 5 [0]
  one bool mirror = 6 [false]
  one bool force_encoded_color = 9 [false]
  one uint32 prefetch = 10 [4]
message EltwiseParameter
  enum EltwiseOp PROD=0 SUM=1 MAX=2
  one EltwiseOp operation = 1 [SUM]
  many float coeff = 2
  one bool stable_prod_grad = 3 [true]
message InnerProductParameter
  one uint32 num_output = 1
  one bool bias_term = 2 [true]
  one FillerParameter weight_filler = 3
  one FillerParameter bias_filler = 4
  one int32 axis = 5 [1]
  one bool transpose = 6 [false]
message InputParameter
  many BlobShape shape = 1
message PoolingParameter
  enum PoolMethod MAX=0 AVE=1 STOCHASTIC=2
  enum RoundMode CEIL=0 FLOOR=1
  enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
  one PoolMethod pool = 1 [MAX]
  one uint32 pad = 4 [0]
  one uint32 pad_h = 9 [0]
  one uint32 pad_w = 10 [0]
  one uint32 kernel_size = 2
  one uint32 kernel_h = 5
  one uint32 kernel_w = 6
  one uint32 stride = 3 [1]
  one uint32 stride_h = 7
  one uint32 stride_w = 8
  one Engine engine = 11 [DEFAULT]
  one bool global_pooling = 12 [false]
  one RoundMode round_mode = 13 [CEIL]
message ReLUParameter
  enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
  one float negative_slope = 1 [0]
  one Engine engine = 2 [DEFAULT]
message ScaleParameter
  one int32 axis = 1 [1]
  one int32 num_axes = 2 [1]
  one FillerParameter filler = 3
  one bool bias_term = 4 [false]
  one FillerParameter bias_filler = 5
message SoftmaxParameter
  enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
  one Engine engine = 1 [DEFAULT]
  one int32 axis = 2 [1]
message DropoutParameter
  one float dropout_ratio = 1 [0.5]
message ELUParameter
  one float alpha = 1 [1]
message PReLUParameter
  one FillerParameter filler = 1
  one bool channel_shared = 2 [false]
message LRNParameter
  enum NormRegion ACROSS_CHANNELS=0 WITHIN_CHANNEL=1
  enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
  one uint32 local_size = 1 [5]
  one float alpha = 2 [1]
  one float beta = 3 [0.75]
  one NormRegion norm_region = 4 [ACROSS_CHANNELS]
  one float k = 5 [1]
  one Engine engine = 6 [DEFAULT]
message SigmoidParameter
  enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
  one Engine engine = 1 [DEFAULT]
message TanHParameter
  enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
  one Engine engine = 1 [DEFAULT]
message FlattenParameter
  one int32 axis = 1 [1]
  one int32 end_axis = 2 [-1]
message ReshapeParameter
  one BlobShape shape = 1
  one int32 axis = 2 [0]
  one int32 num_axes = 3 [-1]
message LayerParameter
  one string name = 1
  one string type = 2
  many string bottom = 3
  many string top = 4
  one Phase phase = 10
  many float loss_weight = 5
  many ParamSpec param = 6
  many BlobProto blobs = 7
  many bool propagate_down = 11
  many NetStateRule include = 8
  many NetStateRule exclude = 9
  one TransformationParameter transform_param = 100
  one LossParameter loss_param = 101
  one AccuracyParameter accuracy_param = 102
  one BatchNormParameter batch_norm_param = 139
  one ConcatParameter concat_param = 104
  one ConvolutionParameter convolution_param = 106
  one DataParameter data_param = 107
  one EltwiseParameter eltwise_param = 110
  one InnerProductParameter inner_product_param = 117
  one InputParameter input_param = 143
  one PoolingParameter pooling_param = 121
  one PowerParameter power_param = 122
  one ReLUParameter relu_param = 123
  one ScaleParameter scale_param = 142
  one SoftmaxParameter softmax_param = 125
  one DropoutParameter dropout_param = 108
  one ELUParameter elu_param = 140
  one FlattenParameter flatten_param = 135
  one LRNParameter lrn_param = 118
  one PReLUParameter prelu_param = 131
  one ReshapeParameter reshape_param = 133
  one SigmoidParameter sigmoid_param = 124
  one TanHParameter tanh_param = 127
message V0LayerParameter
  one string name = 1
  one string type = 2
message V1LayerParameter
  enum LayerType NONE=0 ABSVAL=35 ACCURACY=1 ARGMAX=30 BNLL=2 CONCAT=3 CONTRASTIVE_LOSS=37 CONVOLUTION=4 DATA=5 DECONVOLUTION=39 DROPOUT=6 DUMMY_DATA=32 EUCLIDEAN_LOSS=7 ELTWISE=25 EXP=38 FLATTEN=8 HDF5_DATA=9 HDF5_OUTPUT=10 HINGE_LOSS=28 IM2COL=11 IMAGE_DATA=12 INFOGAIN_LOSS=13 INNER_PRODUCT=14 LRN=15 MEMORY_DATA=29 MULTINOMIAL_LOGISTIC_LOSS=16 MVN=34 POOLING=17 POWER=26 RELU=18 SIGMOID=19 SIGMOID_CROSS_ENTROPY_LOSS=27 SILENCE=36 SOFTMAX=20 SOFTMAX_LOSS=21 SPLIT=22 SLICE=33 TANH=23 WINDOW_DATA=24 THRESHOLD=31
  enum DimCheckMode STRICT=0 PERMISSIVE=1
  many string bottom = 2
  many string top = 3
  one string name = 4
  many NetStateRule include = 32
  many NetStateRule exclude = 33
  one LayerType type = 5
  many BlobProto blobs = 6
  many string param = 1001
  many DimCheckMode blob_share_mode = 1002
  many float blobs_lr = 7
  many float weight_decay = 8
  many float loss_weight = 35
  one AccuracyParameter accuracy_param = 27
  one ConcatParameter concat_param = 9
  one ConvolutionParameter convolution_param = 10
  one DataParameter data_param = 11
  one DropoutParameter dropout_param = 12
  one EltwiseParameter eltwise_param = 24
  one InnerProductParameter inner_product_param = 17
  one LRNParameter lrn_param = 18
  one PoolingParameter pooling_param = 19
  one PowerParameter power_param = 21
  one ReLUParameter relu_param = 30
  one SigmoidParameter sigmoid_param = 38
  one SoftmaxParameter softmax_param = 39
  one TanHParameter tanh_param = 37
  one TransformationParameter transform_param = 36
  one LossParameter loss_param = 42
  one V0LayerParameter layer = 1
message NetParameter
  one string name = 1
  many string input = 3
  many BlobShape input_shape = 8
  many int32 input_dim = 4
  one bool force_backward = 5 [false]
  one NetState state = 6
  one bool debug_info = 7 [false]
  many LayerParameter layer = 100
  many V1LayerParameter layers = 2
message SolverParameter
  enum SnapshotFormat HDF5=0 BINARYPROTO=1
  enum SolverMode CPU=0 GPU=1
  one string net = 24
  one NetParameter net_param = 25
  one string train_net = 1
  many string test_net = 2
  one NetParameter train_net_param = 21
  many NetParameter test_net_param = 22
  one NetState train_state = 26
  many NetState test_state = 27
  many int32 test_iter = 3
  one int32 test_interval = 4 [0]
  one bool test_compute_loss = 19 [false]
  one bool test_initialization = 32 [true]
  one float base_lr = 5
  one int32 display = 6
  one int32 average_loss = 33 [1]
  one int32 max_iter = 7
  one int32 iter_size = 36 [1]
  one string lr_policy = 8
  one float gamma = 9
  one float power = 10
  one float momentum = 11
  one float weight_decay = 12
  one string regularization_type = 29 [L2]
  one int32 stepsize = 13
  many int32 stepvalue = 34
  one float clip_gradients = 35 [-1]
  one int32 snapshot = 14 [0]
  one string snapshot_prefix = 15
  one bool snapshot_diff = 16 [false]
  one SnapshotFormat snapshot_format = 37 [BINARYPROTO]
  one SolverMode solver_mode = 17 [GPU]
  one int32 device_id = 18 [0]
  one int64 random_seed = 20 [-1]
  one string type = 40 [SGD]
  one float delta = 31 [1e-8]
  one float momentum2 = 39 [0.999]
  one float rms_decay = 38 [0.99]
  one bool debug_info = 23 [false]
  one bool snapshot_after_train = 28 [true]
  one bool layer_wise_reduce = 41 [true]
  many string weights = 42
message SolverState
  one int32 iter = 1
  one string learned_net = 2
  many BlobProto history = 3
  one int32 current_step = 4 [0]
"""
PHASE = "Phase TRAIN=0 TEST=1"  # the one enum outside a message
FIELD = descriptor_pb2.FieldDescriptorProto


def _file():
    """The schema as a FileDescriptorProto."""
    schema = descriptor_pb2.FileDescriptorProto(name="fer_lite/caffe.proto", package="caffe")
    _add_enum(schema.enum_type, PHASE)
    message = None
    for line in SCHEMA.strip().splitlines():
        kind, rest = line.split(None, 1)
        if kind == "message":
            message = schema.message_type.add(name=rest)
        elif kind == "enum":
            _add_enum(message.enum_type, rest)
        else:
            _add_field(message, kind, rest)
    return schema


def _add_enum(enums, text):
    name, *values = text.split()
    enum = enums.add(name=name)
    for value in values:
        key, number = value.split("=")
        enum.value.add(name=key, number=int(number))


def _add_field(message, label, text):
    text, _, default = text.partition(" [")
    kind, name, _, number = text.split()
    field = message.field.add(name=name, number=int(number))
    field.label = FIELD.LABEL_OPTIONAL if label == "one" else FIELD.LABEL_REPEATED
    if label == "packed":
        field.options.packed = True
    if default:
        field.default_value = default.rstrip("]")
    if kind.islower():
        field.type = getattr(FIELD, "TYPE_" + kind.upper())
        return
    enums = {enum.name for enum in message.enum_type}
    inside = kind in enums
    field.type = FIELD.TYPE_ENUM if inside or kind == "Phase" else FIELD.TYPE_MESSAGE
    field.type_name = ".caffe.%s.%s" % (message.name, kind) if inside else ".caffe." + kind


def _classes():
    """Message name -> class, under protobuf's old and new ways of making classes."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    found = pool.FindFileByName("fer_lite/caffe.proto")
    make = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return {name: make(descriptor) for name, descriptor in found.message_types_by_name.items()}


CLASSES = _classes()
globals().update(CLASSES)
TRAIN, TEST = 0, 1
