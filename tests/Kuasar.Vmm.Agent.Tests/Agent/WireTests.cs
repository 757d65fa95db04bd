using Google.Protobuf.Reflection;
using Kuasar.Vmm.Contracts.Agent;

namespace Kuasar.Vmm.Agent.Tests.Agent;

/// <summary>Names, numbers and types on the wire are vmm-task's: the tables are from its proto file, as facts.</summary>
public sealed class WireTests
{
    public static TheoryData<string, string> Messages => new()
    {
        { "Interface", "device=1:string name=2:string IPAddresses=3:IPAddress* mtu=4:uint64 hwAddr=5:string type=6:string raw_flags=7:uint32" },
        { "IPAddress", "family=1:IPFamily address=2:string mask=3:string" },
        { "Route", "dest=1:string gateway=2:string device=3:string source=4:string scope=5:uint32 family=6:IPFamily flags=7:uint32" },
        { "UpdateInterfacesRequest", "interfaces=1:Interface*" },
        { "UpdateRoutesRequest", "routes=1:Route*" },
        { "CheckRequest", "service=1:string" },
        { "ExecVMProcessRequest", "command=1:string stdin=2:bytes" },
        { "ExecVMProcessResponse", "out=1:string" },
        { "SyncClockPacket", "ClientSendTime=1:int64 ClientArriveTime=2:int64 ServerSendTime=3:int64 ServerArriveTime=4:int64 Delta=5:int64" },
        { "SetupSandboxRequest", "config=1:Any interfaces=2:Interface* routes=3:Route*" },
    };

    [Theory]
    [MemberData(nameof(Messages))]
    public void A_message_has_these_fields(string name, string fields) => Assert.Equal(fields, Show(AgentReflection.Descriptor.FindTypeByName<MessageDescriptor>(name)));

    [Fact]
    public void The_service_has_these_methods_in_package_grpc()
    {
        var service = AgentReflection.Descriptor.FindTypeByName<ServiceDescriptor>("SandboxService");
        Assert.Equal("grpc.SandboxService", service.FullName);
        Assert.Equal(
            [
                "UpdateInterfaces(UpdateInterfacesRequest)Empty", "UpdateRoutes(UpdateRoutesRequest)Empty", "Check(CheckRequest)Empty",
                "ExecVMProcess(ExecVMProcessRequest)ExecVMProcessResponse", "SyncClock(SyncClockPacket)SyncClockPacket", "GetEvents(Empty)Envelope",
                "SetupSandbox(SetupSandboxRequest)Empty",
            ],
            service.Methods.Select(static method =>
            {
                Assert.False(method.IsClientStreaming || method.IsServerStreaming);
                return $"{method.Name}({method.InputType.Name}){method.OutputType.Name}";
            }));
        var families = AgentReflection.Descriptor.FindTypeByName<EnumDescriptor>("IPFamily");
        Assert.Equal(["v4=0", "v6=1"], families.Values.Select(static value => $"{value.Name}={value.Number}"));
    }

    /// <summary>vmm-task's envelope is of another package, which a unary call does not carry; its fields are these.</summary>
    [Fact]
    public void The_envelope_has_the_fields_of_vmm_tasks() =>
        Assert.Equal("timestamp=1:Timestamp namespace=2:string topic=3:string event=4:Any", Show(Protocol.Contracts.Types.Envelope.Descriptor));

    private static string Show(MessageDescriptor message) =>
        string.Join(' ', message.Fields.InFieldNumberOrder().Select(static field => $"{field.Name}={field.FieldNumber}:{TypeOf(field)}{(field.IsRepeated ? "*" : "")}"));

    private static string TypeOf(FieldDescriptor field) => field.FieldType switch
    {
        FieldType.Message => field.MessageType.Name,
        FieldType.Enum => field.EnumType.Name,
        var type => type.ToString().ToLowerInvariant(),
    };
}
