using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Mounts;

/// <summary>
/// A loop device with a file behind it. The kernel frees it by itself once nobody has it open or mounted, so this is disposed when
/// the mount is made, or has failed.
/// </summary>
internal sealed class LoopDevice : IDisposable
{
    private const string Control = "/dev/loop-control";
    private const int Attempts = 50;

    private readonly SafeFileHandle _handle;

    private LoopDevice(string path, SafeFileHandle handle) => (Path, _handle) = (path, handle);

    internal string Path { get; }

    internal static LoopDevice Attach(string file, bool readOnly, bool direct)
    {
        if (!File.Exists(Control))
        {
            throw new MountException($"{file} needs a loop device, and there is no {Control} here");
        }
        var access = readOnly ? Libc.O_RDONLY : Libc.O_RDWR;
        using var control = Libc.Open(Control, Libc.O_RDWR);
        using var backing = Libc.Open(file, access);
        for (var attempt = 1; attempt <= Attempts; attempt++)
        {
            var path = $"/dev/loop{Libc.FreeLoopDevice(control)}";
            var device = Libc.Open(path, access);
            try
            {
                if (Libc.TryAttachLoop(device, backing, file, readOnly, direct))
                {
                    return new LoopDevice(path, device);
                }
            }
            catch
            {
                device.Dispose();
                throw;
            }
            // Free is only known, never reserved: another process has taken it in between.
            device.Dispose();
            Thread.Sleep(Random.Shared.Next(1, attempt * 4));
        }
        throw new MountException($"no loop device could be had for {file} in {Attempts} attempts");
    }

    public void Dispose() => _handle.Dispose();
}
