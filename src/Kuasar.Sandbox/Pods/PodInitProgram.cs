using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace Kuasar.Sandbox.Pods;

/// <summary>
/// Pid 1 of a pod whose containers share their processes: a static executable of a few hundred bytes, written here so that no compiler,
/// no image and no file on the host is needed. It does this, and ends with the number of the step that failed:
/// <code>
///  1 read(0)               until we have written down its pid; if we die before that, it reads the end and ends
///  2 unshare(NEWNS)        3 mount / private
///  4 mount a read-only tmpfs of nothing at /proc, which every host has
///  5 chdir, 6 pivot_root, 7 umount: of the host's files none can be reached through it (/proc/1/root in a container)
///  8 sigaction(SIGCHLD, SIG_IGN): the kernel itself reaps what is orphaned in the pod
///  9 prctl(NAME)          10 setgroups, 11 setresgid, 12 setresuid to 65535: of no group and with no capability
/// 13 prctl(NO_NEW_PRIVS)  14 close(0), 15 close(2), 16 write(1) and 17 close(1): ready; then ppoll() without end
/// </code>
/// A pid 1 without handlers is not to be ended from inside, by no signal; we end it with KILL.
/// </summary>
internal static class PodInitProgram
{
    internal const string Name = "pod-init";

    private const ulong Base = 0x400000, Buffer = 0x500000, Nobody = 65535;

    private const int ElfHeader = 64, ProgramHeader = 56, Headers = ElfHeader + (3 * ProgramHeader);

    /// <summary>The executable for this machine.</summary>
    /// <exception cref="SandboxException">Unimplemented: there is none for this architecture.</exception>
    internal static byte[] Build() => Build(RuntimeInformation.ProcessArchitecture);

    internal static byte[] Build(Architecture architecture)
    {
        var data = new MemoryStream();
        SystemCall[] calls = [.. Steps(data)];
        byte[] code = architecture switch
        {
            Architecture.X64 => X64Code(calls),
            Architecture.Arm64 => Arm64Code(calls),
            _ => throw new SandboxException(SandboxError.Unimplemented, $"a shared process namespace is not implemented for {architecture}"),
        };
        var strings = data.ToArray();
        byte[] elf = [.. new byte[Headers], .. strings, .. code];
        WriteHeaders(elf, architecture == Architecture.X64 ? (ushort)62 : (ushort)183, Base + Headers + (ulong)strings.Length);
        return elf;
    }

    private static IEnumerable<SystemCall> Steps(MemoryStream data)
    {
        const ulong CLONE_NEWNS = 0x20000, MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_REC = 16384, MS_PRIVATE = 1 << 18,
            MNT_DETACH = 2, SIGCHLD = 17, SIG_IGN = 1, PR_SET_NAME = 15, PR_SET_NO_NEW_PRIVS = 38;
        // struct sigaction of the kernel: handler, flags, restorer, mask. First, so that it is aligned.
        var ignore = Put(BitConverter.GetBytes(SIG_IGN), new byte[24]);
        var (root, proc, here, tmpfs) = (Text("/"), Text("/proc"), Text("."), Text("tmpfs"));
        yield return new(0, 63, 0, Buffer, 1) { MustTransfer = true }; // read
        yield return new(272, 97, CLONE_NEWNS); // unshare
        yield return new(165, 40, 0, root, 0, MS_REC | MS_PRIVATE, 0); // mount
        yield return new(165, 40, tmpfs, proc, tmpfs, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, Text("size=4k,mode=555"));
        yield return new(80, 49, proc); // chdir
        yield return new(155, 41, here, here); // pivot_root
        yield return new(166, 39, here, MNT_DETACH); // umount2
        yield return new(13, 134, SIGCHLD, ignore, 0, 8); // rt_sigaction
        yield return new(157, 167, PR_SET_NAME, Text(Name)); // prctl
        yield return new(116, 159, 0, 0); // setgroups
        yield return new(119, 149, Nobody, Nobody, Nobody); // setresgid
        yield return new(117, 147, Nobody, Nobody, Nobody); // setresuid
        yield return new(157, 167, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); // prctl
        yield return new(3, 57, 0); // close
        yield return new(3, 57, 2);
        yield return new(1, 64, 1, Text("+"), 1) { MustTransfer = true }; // write
        yield return new(3, 57, 1);

        ulong Text(string text) => Put(Encoding.ASCII.GetBytes(text), [0]);

        ulong Put(params ReadOnlySpan<byte[]> parts)
        {
            var address = Base + Headers + (ulong)data.Position;
            foreach (var part in parts)
            {
                data.Write(part);
            }
            return address;
        }
    }

    private static byte[] X64Code(SystemCall[] calls)
    {
        const int Ppoll = 271, Exit = 60;
        var code = new MemoryStream();
        List<int> jumps = [];
        for (var i = 0; i < calls.Length; i++)
        {
            code.WriteByte(0xBB); // mov ebx, STEP
            Int32(i + 1);
            Call(calls[i].X64, calls[i].Arguments);
            code.Write([0x48, 0x85, 0xC0]); // test rax, rax
            code.Write([0x0F, calls[i].MustTransfer ? (byte)0x8E : (byte)0x88]); // jle, js: to the end
            jumps.Add((int)code.Position);
            Int32(0);
        }
        var wait = (int)code.Position;
        Call(Ppoll, [0, 0, 0, 0, 0]);
        code.WriteByte(0xE9); // jmp
        Int32(wait - ((int)code.Position + 4));
        var end = (int)code.Position;
        code.Write([0x89, 0xDF, 0xB8]); // mov edi, ebx; mov eax, EXIT
        Int32(Exit);
        code.Write([0x0F, 0x05]);
        var bytes = code.ToArray();
        foreach (var jump in jumps)
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(jump), end - (jump + 4));
        }
        return bytes;

        void Call(int number, ulong[] arguments)
        {
            // mov rdi, rsi, rdx, r10, r8, each of 64 bits
            ReadOnlySpan<ushort> registers = [0xBF48, 0xBE48, 0xBA48, 0xBA49, 0xB849];
            for (var i = 0; i < arguments.Length; i++)
            {
                code.Write(BitConverter.GetBytes(registers[i]));
                code.Write(BitConverter.GetBytes(arguments[i]));
            }
            code.WriteByte(0xB8); // mov eax, NUMBER; syscall
            Int32(number);
            code.Write([0x0F, 0x05]);
        }

        void Int32(int value) => code.Write(BitConverter.GetBytes(value));
    }

    private static byte[] Arm64Code(SystemCall[] calls)
    {
        const int Ppoll = 73, Exit = 93;
        List<uint> code = [];
        List<int> branches = [];
        for (var i = 0; i < calls.Length; i++)
        {
            Move(19, (ulong)i + 1); // the step
            Call(calls[i].Arm64, calls[i].Arguments);
            if (calls[i].MustTransfer)
            {
                code.Add(0xF100001F); // cmp x0, 0
            }
            branches.Add(code.Count);
            code.Add(calls[i].MustTransfer ? 0x5400000D : 0xB7F80000); // b.le, tbnz x0, 63: to the end
        }
        var wait = code.Count;
        Call(Ppoll, [0, 0, 0, 0, 0]);
        code.Add(0x14000000 | ((uint)(wait - code.Count) & 0x3FFFFFF)); // b
        var end = code.Count;
        code.Add(0xAA1303E0); // mov x0, x19
        Move(8, Exit);
        code.Add(0xD4000001);
        foreach (var branch in branches)
        {
            // 19 bits of b.le, 14 of tbnz, both from bit 5 on, in instructions.
            code[branch] |= (uint)(end - branch) << 5;
        }
        return MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(code)).ToArray();

        void Call(int number, ulong[] arguments)
        {
            for (var i = 0; i < arguments.Length; i++)
            {
                Move((uint)i, arguments[i]);
            }
            Move(8, (ulong)number);
            code.Add(0xD4000001); // svc 0
        }

        void Move(uint register, ulong value)
        {
            code.Add(0xD2800000 | ((uint)(value & 0xFFFF) << 5) | register); // movz
            for (var part = 1; part < 4; part++)
            {
                if ((ushort)(value >> (16 * part)) is not 0 and var bits)
                {
                    code.Add(0xF2800000 | ((uint)part << 21) | ((uint)bits << 5) | register); // movk
                }
            }
        }
    }

    private static void WriteHeaders(Span<byte> elf, ushort machine, ulong entry)
    {
        const uint PT_LOAD = 1, PT_GNU_STACK = 0x6474e551, R = 4, W = 2, X = 1;
        const ulong Page = 0x10000;
        // Elf64_Ehdr; 64 bit, little endian
        ((ReadOnlySpan<byte>)[0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1]).CopyTo(elf);
        BinaryPrimitives.WriteUInt16LittleEndian(elf[16..], 2); // an executable
        BinaryPrimitives.WriteUInt16LittleEndian(elf[18..], machine);
        BinaryPrimitives.WriteUInt32LittleEndian(elf[20..], 1);
        BinaryPrimitives.WriteUInt64LittleEndian(elf[24..], entry);
        BinaryPrimitives.WriteUInt64LittleEndian(elf[32..], ElfHeader); // where the program headers are
        BinaryPrimitives.WriteUInt16LittleEndian(elf[52..], ElfHeader);
        BinaryPrimitives.WriteUInt16LittleEndian(elf[54..], ProgramHeader);
        BinaryPrimitives.WriteUInt16LittleEndian(elf[56..], 3);
        Segment(elf[ElfHeader..], PT_LOAD, R | X, Base, (ulong)elf.Length, (ulong)elf.Length);
        Segment(elf[(ElfHeader + ProgramHeader)..], PT_LOAD, R | W, Buffer, 0, 16);
        Segment(elf[(ElfHeader + (2 * ProgramHeader))..], PT_GNU_STACK, R | W, 0, 0, 0);

        static void Segment(Span<byte> header, uint type, uint flags, ulong address, ulong inFile, ulong inMemory)
        {
            // Elf64_Phdr: type, flags, offset, virtual and physical address, size in the file and in memory, alignment
            BinaryPrimitives.WriteUInt32LittleEndian(header, type);
            BinaryPrimitives.WriteUInt32LittleEndian(header[4..], flags);
            BinaryPrimitives.WriteUInt64LittleEndian(header[16..], address);
            BinaryPrimitives.WriteUInt64LittleEndian(header[24..], address);
            BinaryPrimitives.WriteUInt64LittleEndian(header[32..], inFile);
            BinaryPrimitives.WriteUInt64LittleEndian(header[40..], inMemory);
            BinaryPrimitives.WriteUInt64LittleEndian(header[48..], Page);
        }
    }

    /// <summary>A call by its number on either architecture. One that must transfer a byte fails when it transfers none.</summary>
    private sealed class SystemCall(int x64, int arm64, params ulong[] arguments)
    {
        internal int X64 => x64;

        internal int Arm64 => arm64;

        internal ulong[] Arguments => arguments;

        internal bool MustTransfer { get; init; }
    }
}
